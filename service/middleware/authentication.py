"""ASGI middleware that requires an API key; installed only if keys are configured.

A key is sent as `Authorization: Bearer KEY` (RFC 6750, section 2.1) or as `X-API-Key: KEY`.
"""

import hmac
import re
from collections.abc import Iterable

from pydantic import SecretStr
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Unauthorized
from service.http.error_responses import error_response, store_route

BEARER = b"bearer "
READING = frozenset(("GET", "HEAD"))

# Probes are sent by machines that have no key. A browser sends no key when it follows a link, so
# the page at /ui loads without one, and asks its user for it: what it says of the model needs one.
OPEN = frozenset(("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/ui"))
OPEN_BELOW = re.compile(r"/ui/(?!model\Z).*|/v2/models/[^/]+(/versions/[^/]+)?/ready", re.DOTALL)


class APIKeyMiddleware:
    """Pass requests with a valid key on; reject others with 401, without reading the body."""

    def __init__(
        self, app: ASGIApp, routes: Iterable[Route], api_keys: Iterable[SecretStr]
    ) -> None:
        """Wrap app.

        Args:
            app: the application.
            routes: the routes by which rejected requests are counted.
            api_keys: the valid keys.
        """
        self.app = app
        self.routes = list(routes)
        self._keys = APIKeys(api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] != "http" or not needs_key(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        refusal = self._keys.refusal(scope["headers"])
        if refusal is None:
            await self.app(scope, receive, send)
            return
        store_route(scope, self.routes)
        answer = error_response(refusal)
        await answer(scope, receive, send)


class APIKeys:
    """The valid keys, for requests of any transport."""

    def __init__(self, api_keys: Iterable[SecretStr]) -> None:
        """Take the valid keys."""
        self._keys = [key.get_secret_value().encode() for key in api_keys]

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> Unauthorized | None:
        """Return the error for a request with these headers; None if one has a valid key."""
        given = _given(headers)
        if self._is_one(given):
            return None
        error = "the key is not valid" if given else "the request has no key"
        return Unauthorized(f"{error}: send one as Authorization: Bearer KEY or as X-API-Key: KEY")

    def _is_one(self, given: Iterable[bytes]) -> bool:
        """Return whether a given key is valid; compare all keys, so that the time is constant."""
        found = False
        for candidate in given:
            for key in self._keys:
                found |= hmac.compare_digest(candidate, key)
        return found


def needs_key(method: str, path: str) -> bool:
    """Return whether a request requires a key."""
    return method not in READING or not (path in OPEN or OPEN_BELOW.fullmatch(path))


def _given(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the keys that a request sends."""
    given = []
    for name, value in headers:
        if name == b"x-api-key":
            given.append(value)
        elif name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            given.append(value[len(BEARER) :].strip(b" "))
    return given
