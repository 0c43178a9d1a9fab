"""The exceptions of the service.

    ServiceError
    ├── ModelError             the model cannot be served at all
    │   └── DeviceError        it cannot be served on the requested device
    ├── StartError             `bentoml serve` cannot start with these options
    ├── TracingError           an OpenTelemetry variable is invalid
    ├── InputError             an input, output or option of `python -m service` is invalid
    │   └── BrokenInput        an archive is broken or cut off
    ├── OutputError            the results or messages of `python -m service` cannot be written
    ├── DecoderError           an internal error in a decoder process, not caused by an image
    ├── EngineError            the worker processes of `python -m service` cannot continue
    └── RequestError           a request is rejected or failed; has an HTTP status
        ├── InvalidInput       400  the request's content is invalid
        ├── LoadFailed         400  a model cannot be loaded, or unloaded
        ├── Unauthorized       401  no key, or an invalid one
        ├── Forbidden          403  the settings do not allow the request
        ├── NotFound           404  the model or version is not served
        ├── RequestTimeout     408  the body was not complete in time
        ├── TooLarge           413  more bytes or pixels than the limit
        ├── UnsupportedType    415  the media type is not supported
        │   ├── UnsupportedEncoding  415  the Content-Encoding is not supported
        │   └── PlainOnly            415  the route supports no Content-Encoding
        ├── Overloaded         429  more requests than the worker's limit
        ├── Failed             500  the service failed; its log says why
        ├── Unimplemented      501  the gRPC method is unknown or not supported
        ├── NotReady           503  the model is not ready, or the server is stopping
        └── Timeout            504  the request did not finish in time

Every message names the thing, the value found, and what is expected. The message of a
RequestError is sent to the client as {"error": message}.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """Any error of the service; its message is the complete explanation."""


class ModelError(ServiceError):
    """The model cannot be served at all."""


class DeviceError(ModelError):
    """The model cannot be served on the requested device."""


class StartError(ServiceError):
    """`bentoml serve` cannot start with these options."""


class TracingError(ServiceError):
    """An OpenTelemetry variable is invalid."""


class InputError(ServiceError):
    """An input, output or option of `python -m service` is invalid."""


class BrokenInput(InputError):
    """An archive is broken or cut off."""


class OutputError(ServiceError):
    """The results or messages of `python -m service` cannot be written."""


class DecoderError(ServiceError):
    """An internal error in a decoder process, not caused by an image."""


class EngineError(ServiceError):
    """The worker processes of `python -m service` cannot continue."""


class RequestError(ServiceError):
    """A request is rejected or failed."""

    status: ClassVar[HTTPStatus]
    headers: ClassVar[Mapping[str, str]] = {}


class InvalidInput(RequestError):
    """The request's content is invalid."""

    status = HTTPStatus.BAD_REQUEST


class LoadFailed(RequestError):
    """A model cannot be loaded, or unloaded."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(RequestError):
    """No key, or an invalid one."""

    status = HTTPStatus.UNAUTHORIZED
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 (RFC 6750, section 3)


class Forbidden(RequestError):
    """The settings do not allow the request."""

    status = HTTPStatus.FORBIDDEN


class NotFound(RequestError):
    """The model or version is not served."""

    status = HTTPStatus.NOT_FOUND


class RequestTimeout(RequestError):
    """The body was not complete in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    headers = {"Connection": "close"}  # noqa: RUF012 (RFC 9110, section 15.5.9)


class TooLarge(RequestError):
    """More bytes or pixels than the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedType(RequestError):
    """The media type is not supported."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class UnsupportedEncoding(UnsupportedType):
    """The Content-Encoding is not supported."""

    headers = {"Accept-Encoding": "gzip, deflate"}  # noqa: RUF012 (RFC 9110, section 12.5.3)


class PlainOnly(UnsupportedType):
    """The route supports no Content-Encoding."""

    headers = {"Accept-Encoding": "identity"}  # noqa: RUF012 (RFC 9110, section 12.5.3)


class Overloaded(RequestError):
    """More requests than the worker's limit."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    headers = {"Retry-After": "1"}  # noqa: RUF012 (seconds)


class Failed(RequestError):
    """The service failed."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class Unimplemented(RequestError):
    """The gRPC method is unknown or not supported."""

    status = HTTPStatus.NOT_IMPLEMENTED


class NotReady(RequestError):
    """The model is not ready, or the server is stopping."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"Retry-After": "5"}  # noqa: RUF012 (seconds)


class Timeout(RequestError):
    """The request did not finish in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
