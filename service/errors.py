"""What can go wrong in the service, as one tree.

    ServiceError
    ├── ModelError             the model cannot be served at all
    │   └── DeviceError        it cannot be served on the device asked for
    ├── StartError             `bentoml serve` cannot start as it is told to
    ├── TracingError           a variable of OpenTelemetry's is wrong
    ├── InputError             what `python -m service` is to read or to write is wrong
    │   └── BrokenInput        an archive is broken or cut off
    ├── OutputError            what `python -m service` says or finds cannot be written
    ├── DecoderError           an error within a process that decodes, that no picture should cause
    ├── EngineError            the processes that classify for it cannot go on
    └── RequestError           a request cannot be answered; has an HTTP status
        ├── InvalidInput       400  what was sent is not what it should be
        ├── Unauthorized       401  no key, or none of the service's
        ├── NotFound           404  a model or a version that is not served
        ├── RequestTimeout     408  its body was not whole in time
        ├── TooLarge           413  more bytes or pixels than the limit
        ├── UnsupportedType    415  a media type that is not served
        │   ├── UnsupportedEncoding  415  a Content-Encoding that is not served
        │   └── PlainOnly            415  a Content-Encoding where none is served
        ├── Overloaded         429  more requests than the worker can do
        ├── NotReady           503  there is no model that can be run, or the server stops
        └── Timeout            504  there was no answer in time

Every message names the thing, the value found, and what would be right; a
RequestError's is sent to the client as {"error": message}.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """Any failure of the service; its message is the whole explanation."""


class ModelError(ServiceError):
    """The model cannot be served at all."""


class DeviceError(ModelError):
    """The model cannot be served on the device asked for."""


class StartError(ServiceError):
    """`bentoml serve` cannot start as it is told to."""


class TracingError(ServiceError):
    """A variable of OpenTelemetry's is wrong."""


class InputError(ServiceError):
    """What `python -m service` is to read or to write is wrong."""


class BrokenInput(InputError):
    """An archive is broken or cut off."""


class OutputError(ServiceError):
    """What `python -m service` says or finds cannot be written."""


class DecoderError(ServiceError):
    """An error within a process that decodes, that no picture should cause."""


class EngineError(ServiceError):
    """The processes that classify for `python -m service` cannot go on."""


class RequestError(ServiceError):
    """A request cannot be answered."""

    status: ClassVar[HTTPStatus]
    headers: ClassVar[Mapping[str, str]] = {}


class InvalidInput(RequestError):
    """What was sent is not what it should be."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(RequestError):
    """No key, or none of the service's."""

    status = HTTPStatus.UNAUTHORIZED
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 (RFC 6750, section 3)


class NotFound(RequestError):
    """A model or a version that is not served."""

    status = HTTPStatus.NOT_FOUND


class RequestTimeout(RequestError):
    """The body was not whole in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    headers = {"Connection": "close"}  # noqa: RUF012 (RFC 9110, section 15.5.9)


class TooLarge(RequestError):
    """More bytes or pixels than the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedType(RequestError):
    """A media type that is not served."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class UnsupportedEncoding(UnsupportedType):
    """A Content-Encoding that is not served."""

    headers = {"Accept-Encoding": "gzip, deflate"}  # noqa: RUF012 (RFC 9110, section 12.5.3)


class PlainOnly(UnsupportedType):
    """A Content-Encoding where none is served."""

    headers = {"Accept-Encoding": "identity"}  # noqa: RUF012 (RFC 9110, section 12.5.3)


class Overloaded(RequestError):
    """More requests than the worker can do."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    headers = {"Retry-After": "1"}  # noqa: RUF012 (seconds)


class NotReady(RequestError):
    """There is no model that can be run, or the server stops."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"Retry-After": "5"}  # noqa: RUF012 (seconds)


class Timeout(RequestError):
    """There was no answer in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
