"""What a request for a classification may choose in its query: `mode` and `top_k`."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, TypeVar, get_args

from starlette.datastructures import QueryParams

from service.errors import InvalidInput
from service.images import Mode

MODES: Mapping[str, Mode] = {mode: mode for mode in get_args(Mode)}

Value = TypeVar("Value")


class Choices(NamedTuple):
    """The choices made, or their defaults."""

    mode: Mode  # how a picture becomes 28 x 28
    top_k: int | None  # how many classes an answer names; None for all of them


DEFAULTS = Choices("auto", None)


def read_choices(query_string: str | bytes, classes: int) -> Choices:
    """Read a query; parameters of other names mean nothing here.

    Args:
        query_string: what stands behind the question mark, percent-encoded.
        classes: how many the model has.

    Raises:
        InvalidInput: a value is not one that the parameter takes.
    """
    if not query_string:
        return DEFAULTS
    query = QueryParams(query_string)
    return Choices(
        mode=_one_of(query, "mode", MODES, default="auto"),
        top_k=_one_of(query, "top_k", _counts(classes), default=None),
    )


@cache
def _counts(classes: int) -> Mapping[str, int]:
    return {str(count): count for count in range(1, classes + 1)}


def _one_of(query: QueryParams, name: str, values: Mapping[str, Value], default: Value) -> Value:
    text = query.get(name)
    if text is None:
        return default
    if text not in values:
        raise InvalidInput(f"{name} is {text[:40]!r}, one of {', '.join(values)} is right")
    return values[text]
