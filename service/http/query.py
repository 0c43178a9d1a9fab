"""The options of a classification request, in its query or its form: `mode` and `top_k`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar, get_args
from urllib.parse import parse_qsl

from service.errors import InvalidInput
from service.preprocessing.pipeline import Mode

MODES: Mapping[str, Mode] = {mode: mode for mode in get_args(Mode)}

Value = TypeVar("Value")
Pairs = Iterable[tuple[str, str]]


class QueryOptions(NamedTuple):
    """The options of a request, or their defaults."""

    mode: Mode  # how an image is reduced to 28 x 28
    top_k: int | None  # number of classes in the response; None for all of them


DEFAULTS = QueryOptions("auto", None)


def parse_query_options(query_string: bytes, classes: int, fields: Pairs = ()) -> QueryOptions:
    """Return the options from a query, and from a form's fields.

    Args:
        query_string: the part of the URL after the question mark, percent-encoded.
        classes: the number of the model's classes.
        fields: names and values; BentoML's client writes the values as JSON.

    Raises:
        InvalidInput: a value is invalid, an option is given twice, or the query has an unknown
            parameter.
    """
    if not query_string and not fields:
        return DEFAULTS
    chosen = read_query(query_string, QueryOptions._fields)
    for name, value in fields:
        if value != "null":
            _add(chosen, name, value.removeprefix('"').removesuffix('"'))
    return QueryOptions(
        mode=_one_of(chosen, "mode", MODES, default="auto"),
        top_k=_one_of(chosen, "top_k", _counts(classes), default=None),
    )


def read_query(query_string: bytes, known: Sequence[str] = ()) -> dict[str, str]:
    """Return the parameters of a query.

    Raises:
        InvalidInput: the query has an unknown parameter, or a parameter twice.
    """
    chosen: dict[str, str] = {}
    if not query_string:
        return chosen
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            # A parameter without a value may be a secret instead of a name.
            shown = f"parameter {name[:40]!r}" if value else "a parameter"
            expected = " and ".join(known) or "none"
            raise InvalidInput(f"the query has {shown}, known parameters: {expected}")
        _add(chosen, name, value)
    return chosen


def _add(chosen: dict[str, str], name: str, value: str) -> None:
    if name in chosen:
        raise InvalidInput(f"{name} is given twice, expected once")
    chosen[name] = value


@cache
def _counts(classes: int) -> Mapping[str, int]:
    return {str(count): count for count in range(1, classes + 1)}


def _one_of(
    chosen: Mapping[str, str], name: str, values: Mapping[str, Value], default: Value
) -> Value:
    text = chosen.get(name)
    if text is None:
        return default
    if text not in values:
        raise InvalidInput(f"{name} is {text[:40]!r}, expected one of {', '.join(values)}")
    return values[text]
