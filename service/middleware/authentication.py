"""ASGI middleware that lets in who has a key; in the stack only where there are keys.

A key comes as `Authorization: Bearer KEY` (RFC 6750, section 2.1) or as `X-API-Key: KEY`.
"""

import hmac
import re
from collections.abc import Iterable

from pydantic import SecretStr
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Unauthorized
from service.http.responses import json_response

BEARER = b"bearer "
READING = frozenset(("GET", "HEAD"))

# Probes come from machines that know no key; a browser sends none with a link, so the page at /ui
# loads without, and asks its user for one.
OPEN = frozenset(("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/ui"))
OPEN_BELOW = re.compile(r"/ui/.*|/v2/models/[^/]+(/versions/[^/]+)?/ready", re.DOTALL)


class APIKeyMiddleware:
    """Passes requests with a key on, and answers all others with 401, their bodies unread."""

    def __init__(
        self, app: ASGIApp, routes: Iterable[Route], api_keys: Iterable[SecretStr]
    ) -> None:
        """Stand before app.

        Args:
            app: what answers.
            routes: those that a refused request is counted by.
            api_keys: any of them is right.
        """
        self.app = app
        self.routes = list(routes)
        self._keys = [key.get_secret_value().encode() for key in api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or not needs_key(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        given = _given(scope)
        if self._is_one(given):
            await self.app(scope, receive, send)
            return
        self._name_route(scope)
        refusal = _refusal(given)
        answer = json_response({"error": str(refusal)}, refusal.status, refusal.headers)
        await answer(scope, receive, send)

    def _name_route(self, scope: Scope) -> None:
        """Tell the metrics which route it is, since no router will."""
        for route in self.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return

    def _is_one(self, given: Iterable[bytes]) -> bool:
        """Compare with every key, lest the time tell which are alike."""
        found = False
        for candidate in given:
            for key in self._keys:
                found |= hmac.compare_digest(candidate, key)
        return found


def needs_key(method: str, path: str) -> bool:
    """Whether a request is only for who has a key."""
    return method not in READING or not (path in OPEN or OPEN_BELOW.fullmatch(path))


def _given(scope: Scope) -> list[bytes]:
    """Return what a request has in the place of a key."""
    given = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            given.append(value)
        elif name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            given.append(value[len(BEARER) :].strip(b" "))
    return given


def _refusal(given: list[bytes]) -> Unauthorized:
    fault = "the key is none of this service's" if given else "there is no key"
    return Unauthorized(f"{fault}: send one as Authorization: Bearer KEY or as X-API-Key: KEY")
