"""IDX files and tar archives whose heads lie, plain and compressed."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable
from functools import partial

from hypothesis import strategies as st

from tests.hostile.search.sizes import LENGTHS

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "no": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress
}  # fmt: skip
COUNTS = st.sampled_from([0, 1, 3, 1000, 65_536, 2**31, 2**32 - 1])
MOST = 50_000_000


def patched(content: bytes, patch: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for at, value in patch:
        changed[at % len(changed)] = value
    return bytes(changed)


def idx(
    images: int, sides: tuple[int, int], length: int, how: str, patch: list[tuple[int, int]]
) -> bytes:
    head = struct.pack(">4sIII", b"\0\0\x08\x03", images, *sides)
    content = COMPRESS[how](head + bytes(min(length * 5, MOST)))
    return content[:18] + patched(content[18:], patch) if len(content) > 20 else content


def tar(
    members: int, kind: bytes, length: int, claimed: int | None, headers: tuple[bytes, int, int],
    how: str, patch: list[tuple[int, int]]
) -> bytes:  # fmt: skip
    file = io.BytesIO()
    flag, size, count = headers
    before = tarfile.TarInfo("././@PaxHeader")
    before.type, before.size = flag, size
    head = before.tobuf(tarfile.USTAR_FORMAT) + (b"a" * size).ljust(-(-size // 512) * 512, b"\0")
    member = tarfile.TarInfo("a.png")
    member.type = kind
    member.size = length if claimed is None else claimed
    member.linkname = "b.png"
    own = member.tobuf(tarfile.GNU_FORMAT)
    content = bytes(-(-min(length, MOST) // 512) * 512)
    one = head * min(count, MOST // len(head)) + own + content
    file.write(one * max(1, min(members, MOST // len(one))))
    file.write(bytes(1024))
    return COMPRESS[how](patched(file.getvalue(), patch))


PATCH = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=2)
HOW = st.sampled_from(list(COMPRESS))
IDX = st.builds(
    lambda *given: partial(idx, *given),
    COUNTS,
    st.sampled_from([(28, 28), (28, 28), (1, 1), (2**16, 2**16)]),
    LENGTHS,
    HOW,
    PATCH,
)
TARS = st.builds(
    lambda *given: partial(tar, *given),
    st.sampled_from([1, 2, 1000, 100_000]),
    st.sampled_from([b"0", b"1", b"2", b"5", b"S", b"x"]),
    LENGTHS,
    st.sampled_from([None, None, 0, 2**33, 10**9]),
    st.tuples(
        st.sampled_from([b"x", b"g", b"L", b"K"]),
        st.sampled_from([0, 1, 100, 1_000_000]),
        st.sampled_from([0, 0, 1, 3000]),
    ),
    HOW,
    PATCH,
)
