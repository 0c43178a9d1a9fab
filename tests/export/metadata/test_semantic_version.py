"""Semantic versions, by the specification's own examples and by its grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.metadata.semantic_version import semantic_version

NUMBERS = st.integers(0, 10**12).map(str)
WORDS = st.from_regex(r"[0-9A-Za-z-]*[A-Za-z-][0-9A-Za-z-]*", fullmatch=True)
BUILDS = st.from_regex(r"[0-9A-Za-z-]+", fullmatch=True)


@given(
    st.lists(NUMBERS, min_size=3, max_size=3),
    st.lists(NUMBERS | WORDS, max_size=3),
    st.lists(BUILDS, max_size=3),
)
def test_what_the_grammar_makes_is_returned_as_it_is(
    core: list[str], pre_release: list[str], build: list[str]
) -> None:
    text = ".".join(core)
    text += "-" + ".".join(pre_release) if pre_release else ""
    text += "+" + ".".join(build) if build else ""
    assert semantic_version(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.4", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta", "1.0.0-alpha.0valid"),
        *("1.0.0-alpha.beta.1", "1.0.0-x.7.z.92", "1.0.0-0A.is.legal", "1.2.3----RC-SNAPSHOT.12.9"),
        *("1.0.0+21AF26D3---117B344092BD", "1.0.0-alpha+001", "99999999999999999999999.0.0"),
    ],
)
def test_the_specifications_examples(text: str) -> None:
    assert semantic_version(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.2", "1.2.3.4", "v1.2.3", "1.2.3\n", " 1.2.3", "1.2.3 ", "1.0", "latest"),
        *("01.1.1", "1.01.1", "1.1.01", "1.2.3-0123", "1.2.3-0123.0123", "1.0.0-alpha.01"),
        *("1.2.3-", "1.2.3+", "1.2.3-a..b", "1.2.3-.a", "1.2.3+a..b", "1.1.2+.123", "+invalid"),
        *(
            "1.0.0-alpha_beta",
            "1.2.3+a+b",
            "1.2.3-\u00e9",
            "-1.0.3-gamma",
            "1.2.\u0663",
            "1.0.0rc1",
        ),
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="semantic version") as caught:
        semantic_version(text)
    assert str(caught.value) == (
        f"{text!r} is not a semantic version (https://semver.org): expected three numbers "
        "such as 1.0.0, and optionally a pre-release (1.0.0-rc.1) and a build (1.0.0+5114f85)"
    )
