"""The options of a classification request: its query's `model`, `mode` and `top_k`.

A form may have the last two as fields.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl

from service.errors import InvalidInput
from service.preprocessing.pipeline import MODES, Mode
from service.signature import ModelSignature, Pipeline

SHOWN = 20  # values that an error lists

Value = TypeVar("Value")
Pairs = Iterable[tuple[str, str]]


class QueryOptions(NamedTuple):
    """The options of a request, or their defaults."""

    mode: Mode  # how a picture becomes the model's image
    top_k: int | None  # number of classes in the response; None for all of them


DEFAULTS = QueryOptions("auto", None)
MODEL = "model"
PARAMETERS = (MODEL, *QueryOptions._fields)  # of a request to classify


def parse_options(
    query: Mapping[str, str], signature: ModelSignature, fields: Pairs = ()
) -> QueryOptions:
    """Return the options from a query, and from a form's fields.

    Args:
        query: its parameters, as `read_query` returns them.
        signature: of the model: its pipeline has modes, and `top_k` is at most its classes.
        fields: names and values; BentoML's client writes the values as JSON.

    Raises:
        InvalidInput: a value is invalid, or an option is given twice.
    """
    if not query and not fields:
        return DEFAULTS
    chosen = dict(query)
    for name, value in fields:
        if value != "null":
            _add(chosen, name, value.removeprefix('"').removesuffix('"'))
    return QueryOptions(
        mode=_one_of(chosen, "mode", _modes(signature.image.pipeline), default="auto"),
        top_k=_one_of(chosen, "top_k", _counts(len(signature.labels)), default=None),
    )


def read_query(query_string: bytes, known: Sequence[str] = ()) -> dict[str, str]:
    """Return the parameters of a query.

    Args:
        query_string: the part of the URL after the question mark, percent-encoded.
        known: the names that it may have.

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
            *first, last = known or ["none"]
            expected = f"{', '.join(first)} and {last}" if first else last
            raise InvalidInput(f"the query has {shown}, known parameters: {expected}")
        _add(chosen, name, value)
    return chosen


def _add(chosen: dict[str, str], name: str, value: str) -> None:
    if name in chosen:
        raise InvalidInput(f"{name} is given twice, expected once")
    chosen[name] = value


@cache
def _modes(pipeline: Pipeline) -> Mapping[str, Mode]:
    return {mode: mode for mode in MODES[pipeline]}


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
        raise InvalidInput(f"{name} is {text[:40]!r}, expected {_alternatives(list(values))}")
    return values[text]


def _alternatives(values: Sequence[str]) -> str:
    """Return values for an error; of numbers from 1 to a thousand, the first and the last ones."""
    if len(values) == 1:
        return values[0]
    shown = values if len(values) <= SHOWN else (*values[:3], "...", values[-1])
    return f"one of {', '.join(shown)}"
