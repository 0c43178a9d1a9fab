"""gRPC's status codes for the errors that HTTP's statuses stand for.

Sources: `doc/statuscodes.md` of grpc/grpc; for the retry hint, gRPC proposal A6 (client retries).
"""

from collections.abc import Mapping
from http import HTTPStatus

from grpc import StatusCode

from service.errors import RequestError

CODES: Mapping[HTTPStatus, StatusCode] = {
    HTTPStatus.BAD_REQUEST: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.INTERNAL_SERVER_ERROR: StatusCode.INTERNAL,
    HTTPStatus.NOT_IMPLEMENTED: StatusCode.UNIMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
}


def retry_hint(error: RequestError) -> tuple[tuple[str, str], ...]:
    """Return trailing metadata that says when to try again, if the error has HTTP's Retry-After."""
    seconds = error.headers.get("Retry-After")
    if seconds is None:
        return ()
    return ("retry-after", seconds), ("grpc-retry-pushback-ms", f"{int(seconds) * 1000}")
