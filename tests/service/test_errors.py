"""The tree of errors: as its docstring draws it, each with its status."""

import re
from http import HTTPStatus

import pytest

from service import errors
from service.errors import ModelError, RequestError, ServiceError


def below(kind: type[Exception]) -> list[type[Exception]]:
    return [found for child in kind.__subclasses__() for found in (child, *below(child))]


def test_the_docstring_draws_every_error() -> None:
    drawn = re.findall(r"^[ │├└─]*(?:├──|└──) (\w+)", errors.__doc__ or "", re.MULTILINE)
    assert drawn == [kind.__name__ for kind in below(ServiceError)]


@pytest.mark.parametrize("kind", RequestError.__subclasses__())
def test_every_request_error_has_the_status_that_is_drawn(kind: type[RequestError]) -> None:
    assert isinstance(kind.status, HTTPStatus)
    assert re.search(rf"{kind.__name__} +{int(kind.status)} ", errors.__doc__ or "")


def test_a_model_error_is_no_answer_to_a_request() -> None:
    assert not issubclass(ModelError, RequestError)
    assert not hasattr(ModelError, "status")
