"""JSON that is deep, long, or of very many values; plain, and as gzip makes it small."""

import gzip
from functools import partial

from hypothesis import strategies as st

from tests.hostile.numbers import of, tensor
from tests.hostile.search.sizes import LENGTHS

MOST = 10 * 2**20  # bytes of a body that are taken
VALUES = (
    *(b"0", b"255", b"1e-7", b'"a"', b'""', b"[]", b"{}", b"null", b"true", b"-0.0", b"[0]"),
    *(b'{"a":0}', b'"\\u0000"', b"1234567890123456789", b'"' + b"a" * 1000 + b'"', b'"\xc3\xa9"'),
)


def listed(value: bytes, length: int, depth: int) -> bytes:
    count = max(1, min(length, MOST - 2 * depth - 200) // (len(value) + 1))
    return b"[" * depth + b",".join([value] * count) + b"]" * depth


def keyed(key: int, length: int, same: bool) -> bytes:
    pieces, size = [], 0
    while size < min(length, MOST - key - 200):
        name = b"a" * key if same else b"%x" % len(pieces) + b"a" * key
        pieces.append(b'"' + name + b'":0')
        size += len(pieces[-1]) + 1
    return b"{" + b",".join(pieces) + b"}"


def inference(content: bytes, where: str) -> bytes:
    """A request with the content in the place of one of its values, compressed."""
    mark = "MARK"
    entry = tensor(data=mark) if where == "data" else tensor(**{where: mark})
    body = content if where == "body" else of([entry]).replace(b'"MARK"', content)
    body = body.replace(b'"images"', b'"inputs"') if where != "body" else body
    return gzip.compress(body, 9)


def prediction(content: bytes, where: str) -> bytes:
    return content if where == "body" else b'{"images":' + content + b"}"


CONTENTS = st.one_of(
    st.builds(
        lambda *given: partial(listed, *given),
        st.sampled_from(VALUES), LENGTHS, st.sampled_from([1, 1, 2, 4, 100, 1000, 100_000]),
    ),
    st.builds(
        lambda *given: partial(keyed, *given),
        st.sampled_from([1, 10, 1000, 1_000_000]), LENGTHS, st.booleans(),
    ),
)  # fmt: skip
PREDICTIONS = st.builds(
    lambda content, where: lambda: prediction(content(), where),
    CONTENTS,
    st.sampled_from(["body", "images"]),
)
INFERENCES = st.builds(
    lambda content, where: lambda: inference(content(), where),
    CONTENTS,
    st.sampled_from(["body", "data", "shape", "parameters", "name"]),
)
