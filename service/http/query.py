"""What a request for a classification may choose, in its query or its form: `mode` and `top_k`."""

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
    """The choices made, or their defaults."""

    mode: Mode  # how a picture becomes 28 x 28
    top_k: int | None  # how many classes an answer names; None for all of them


DEFAULTS = QueryOptions("auto", None)


def parse_query_options(query_string: bytes, classes: int, fields: Pairs = ()) -> QueryOptions:
    """Read a query, and the fields of a form that choose.

    Args:
        query_string: what stands behind the question mark, percent-encoded.
        classes: how many the model has.
        fields: names and values; BentoML's client writes the values as JSON.

    Raises:
        InvalidInput: a value is not one that the parameter takes, or there are two for one, or
            the query has another parameter.
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
    """Read a query that has no other parameters than those known, and each once at most.

    Raises:
        InvalidInput: it has.
    """
    chosen: dict[str, str] = {}
    if not query_string:
        return chosen
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            # One without a value may be a secret, and no name.
            shown = f"parameter {name[:40]!r}" if value else "a parameter"
            expected = " and ".join(known) or "none"
            raise InvalidInput(f"the query has {shown}, the parameters known here: {expected}")
        _add(chosen, name, value)
    return chosen


def _add(chosen: dict[str, str], name: str, value: str) -> None:
    if name in chosen:
        raise InvalidInput(f"{name} is given twice, once is right")
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
        raise InvalidInput(f"{name} is {text[:40]!r}, one of {', '.join(values)} is right")
    return values[text]
