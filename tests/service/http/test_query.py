"""The query's mode and top_k: read, defaulted, or rejected with the values allowed."""

import re
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.http.query import PARAMETERS, QueryOptions, parse_options, read_query
from service.signature import ModelSignature
from tests.service.pictures import FASHION, SIGNATURE

TEXTS = st.text(st.characters(codec="utf-8"))


def options(query: str, signature: ModelSignature = SIGNATURE) -> QueryOptions:
    return parse_options(read_query(query.encode(), PARAMETERS), signature)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ("auto", None)),
        ("mode=auto", ("auto", None)),
        ("mode=raw&top_k=1", ("raw", 1)),
        ("top_k=10&mode=photo", ("photo", 10)),
    ],
)
def test_choices(query: str, expected: tuple[str, int | None]) -> None:
    assert options(query) == expected


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("topk=3", "parameter 'topk'"),
        ("top_k=3&colour=red", "parameter 'colour'"),
        ("Mode=raw", "parameter 'Mode'"),
        ("mode[]=raw", "parameter 'mode[]'"),
        (f"{'x' * 100}=1", f"parameter {'x' * 40!r}"),
        ("a%0Ab=1", "parameter 'a\\nb'"),
        ("may-be-a-key", "a parameter"),
        ("=x", "parameter ''"),
    ],
)
def test_what_is_unknown_is_refused(query: str, shown: str) -> None:
    message = f"the query has {shown}, known parameters: model, mode and top_k"
    with pytest.raises(InvalidInput, match=f"^{re.escape(message)}$"):
        options(query)


def test_where_nothing_is_chosen_nothing_is_known() -> None:
    assert read_query(b"") == {}
    with pytest.raises(InvalidInput, match=r"parameter 'mode', known parameters: none$"):
        read_query(b"mode=raw")


@pytest.mark.parametrize("query", ["mode=raw&mode=raw", "top_k=1&mode=auto&top_k=2"])
def test_nothing_is_chosen_twice(query: str) -> None:
    with pytest.raises(InvalidInput, match="is given twice, expected once"):
        options(query)


@pytest.mark.parametrize("value", ["", "Raw", "raw,photo", "x" * 100])
def test_another_mode_is_refused(value: str) -> None:
    message = f"mode is {value[:40]!r}, expected one of auto, raw, photo"
    with pytest.raises(InvalidInput, match=f"^{re.escape(message)}$"):
        options(urlencode({"mode": value}))


@pytest.mark.parametrize("value", ["", "0", "4", "-1", "1.0", "01", " 1", "1e0", "²", "9" * 5000])
def test_another_top_k_is_refused(value: str) -> None:
    message = f"top_k is {value[:40]!r}, expected one of 1, 2, 3"
    with pytest.raises(InvalidInput, match=f"^{re.escape(message)}$"):
        options(urlencode({"top_k": value}), ModelSignature(FASHION, tuple("abc")))


@given(TEXTS, TEXTS)
def test_any_query_is_read_or_refused(mode: str, top_k: str) -> None:
    try:
        options(urlencode({"mode": mode, "top_k": top_k}))
    except InvalidInput as error:
        assert "expected" in str(error)  # noqa: PT017 - choices are as good an outcome
