"""Forms of many parts, of long headers, and of what nearly is their boundary (RFC 7578)."""

from functools import partial

from hypothesis import strategies as st

from tests.hostile.search.sizes import LENGTHS

NAMED = b'Content-Disposition: form-data; name="images"; filename="a.png"\r\n'
FILLINGS = (b"\0", b"\r\n--", b"\r\n--b", b"\r", b"--b\r\n", b"\r\n-", b"\n")


def made(
    parts: int, headers: tuple[bytes, int], filling: bytes, length: int, before: int, closed: bool
) -> bytes:
    line, count = headers
    head = b"--b\r\n" + NAMED + line * count + b"\r\n"
    content = filling * (min(length, 10_000_000) // max(1, parts) // len(filling))
    part = head + content + b"\r\n"
    parts = max(1, min(parts, 10_000_000 // len(part)))
    return filling * before + b"\r\n" * bool(before) + part * parts + b"--b--" * closed


FILES = st.builds(
    lambda *given: partial(made, *given),
    st.sampled_from([1, 2, 100, 999, 1000, 1001, 100_000]),
    st.tuples(
        st.sampled_from(
            [b"A: b\r\n", b"X-" + b"a" * 4000 + b": b\r\n", NAMED, b"a: " + b";" * 999 + b"\r\n"]
        ),
        st.sampled_from([0, 0, 1, 8, 1000]),
    ),
    st.sampled_from(FILLINGS),
    LENGTHS,
    st.sampled_from([0, 0, 1, 100_000]),
    st.booleans(),
)
