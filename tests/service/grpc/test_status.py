"""Status codes: each error of a request has one, and none is an internal error but our own."""

from grpc import StatusCode

from service.errors import (
    Failed,
    NotReady,
    Overloaded,
    RequestError,
    TooLarge,
    Unimplemented,
)
from service.grpc.status import CODES, retry_hint


def every(kind: type[RequestError]) -> set[type[RequestError]]:
    return {kind}.union(*map(every, kind.__subclasses__()))


def test_each_error_has_a_code() -> None:
    kinds = every(RequestError) - {RequestError}
    assert {Overloaded, NotReady, Unimplemented} < kinds
    own = {
        kind for kind in kinds if CODES[kind.status] in (StatusCode.INTERNAL, StatusCode.UNKNOWN)
    }
    assert own == {Failed}


def test_an_error_that_passes_says_when_to_try_again() -> None:
    assert retry_hint(Overloaded("full")) == (
        ("retry-after", "1"),
        ("grpc-retry-pushback-ms", "1000"),
    )
    assert retry_hint(TooLarge("large")) == ()
