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


BLOCK = 512
NUMBERS = st.sampled_from(
    [
        *(b"00000000000\0", b"00000000004\0", b"77777777777\0", b"-0000000001\0", b"     4     \0"),
        *(b"\x80" + b"\0" * 10 + b"\4", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"", b"4_0\0", b"8"),
    ]
)
NAMES = st.sampled_from(
    [
        *(b"a.png", b"./a.png", b"../a.png", b"/a.png", b"a.png/", b"", b"d/._a.png", b"\xff.png"),
        *(b"b", b"b.png", b"c/d.png", b"x" * 100, b"__MACOSX/a.png", b"a\n.png", b"c"),
    ]
)
KINDS = st.sampled_from([bytes([kind]) for kind in b"00000\x001122234567LLKxxgXSDMVNA\xff"])
KEYS = st.sampled_from(
    [
        *("path", "linkpath", "size", "mtime", "comment", "hdrcharset", "GNU.sparse.major"),
        *("GNU.sparse.map", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.realsize", ""),
    ]
)
VALUES = st.sampled_from(
    ["", "a.png", "b", "1", "4", "-1", "1e9", "9" * 30, "0,1,2", "x" * 5000, "1 1 1=1", "\0", "\n"]
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header with any fields and the right checksum."""
    info = tarfile.TarInfo("a.png")
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[0:100] = draw(NAMES).ljust(100, b"\0")
    block[124:136] = draw(NUMBERS).ljust(12, b"\0")
    block[156:157] = draw(KINDS)
    block[157:257] = draw(NAMES).ljust(100, b"\0")
    if draw(st.integers(0, 9)) == 0:
        block[257:512] = draw(st.binary(min_size=255, max_size=255))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % (sum(block) + (draw(st.integers(0, 30)) == 0))
    return bytes(block)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Records of pax, mostly of the length that they say."""
    found = b""
    for key, value in draw(st.lists(st.tuples(KEYS, VALUES), max_size=4)):
        body = f" {key}={value}\n".encode()
        length = (
            len(body) + len(str(len(body) + 2)) + draw(st.sampled_from([0] * 8 + [-3, 2, 10**9]))
        )
        found += str(length).encode() + body
    return found


@st.composite
def extended(draw: st.DrawFn) -> bytes:
    """A header that says more of the next, with what it says."""
    kind = draw(st.sampled_from([b"x", b"g", b"L", b"K", b"X"]))
    body = (
        draw(records()) if kind in b"xgX" else draw(NAMES) * draw(st.sampled_from([1, 1, 9, 900]))
    )
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A tar archive of a good picture, and then of such headers, of contents and ends."""
    good = tarfile.TarInfo("good.png")
    good.size = 4
    parts = st.one_of(
        headers(),
        extended(),
        st.sampled_from([b"coat".ljust(BLOCK, b"\0"), bytes(BLOCK)]),
        st.just(good.tobuf() + b"coat".ljust(BLOCK, b"\0")),
    )
    content = b""
    for part in draw(st.lists(parts, max_size=9)):
        many = 3000 if len(part) <= 2 * BLOCK else 40
        content += part * draw(st.sampled_from([1] * 12 + [many]))
    return good.tobuf() + b"coat".ljust(BLOCK, b"\0") + content + bytes(2 * BLOCK)


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
LARGE_TARS = st.builds(
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
ODD_TARS = st.builds(
    lambda content, how, patch: lambda: COMPRESS[how](patched(content, patch)),
    archives(),
    HOW,
    PATCH,
)
TARS = LARGE_TARS | ODD_TARS
