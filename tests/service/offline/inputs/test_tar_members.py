"""A tar archive's members: as Python's tarfile finds them, and what it does not notice."""

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BrokenInput
from service.offline.inputs.tar_members import BLOCK, HEADER_BYTES, Member, members, read_content
from tests.hostile.search.archives import archives
from tests.service.offline.inputs.found import rows

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12
).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=30).map("/".join)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
KINDS = [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE,
         tarfile.DIRTYPE, tarfile.FIFOTYPE]  # fmt: skip


def header(kind: bytes = b"0", size: int = 0, name: str = "a.png") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def with_field(start: int, field: bytes) -> bytes:
    """A header with other bytes in it, and the checksum that belongs to them."""
    block = bytearray(header())
    block[start : start + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


END = bytes(2 * BLOCK)
COAT = header(size=4) + padded(b"coat")


def found(content: bytes) -> list[Member]:
    return list(members(io.BytesIO(content)))  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(PATHS, st.sampled_from(KINDS), PATHS, st.binary(max_size=600))),
    st.sampled_from(FORMATS),
)
def test_they_are_those_that_tarfile_wrote(
    entries: list[tuple[str, bytes, str, bytes]], layout: int
) -> None:
    file = io.BytesIO()
    expected = []
    with tarfile.open(fileobj=file, mode="w", format=layout) as archive:
        for name, kind, target, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = len(content) if info.isreg() else 0
            try:
                archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
            except (ValueError, UnicodeError):  # ustar has no place for long names
                continue
            expected.append((name, content if info.isreg() else None))
    got = []
    for member in members(file := io.BytesIO(file.getvalue())):  # type: ignore[arg-type]
        regular = member.kind == b"0"
        content = read_content(file, member) if regular else None  # type: ignore[arg-type]
        got.append((member.name.removesuffix("/"), content))
    assert got == expected


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"g"])
def test_thousands_of_headers_in_a_row_are_one_members(kind: bytes) -> None:
    one = record("comment", "x") if kind in b"xg" else b"x.png\0"
    content = (header(kind, len(one)) + padded(one)) * 3000 + COAT + END
    (member,) = found(content)
    assert (member.name, member.size) == ("x.png" if kind == b"L" else "a.png", 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is cut off"),
        (b"x" * BLOCK, "a header has b'xxxxxxxx', expected a number"),
        (COAT, "it is cut off"),
        (COAT + header()[:100], "it is cut off"),
        (
            COAT + header().replace(b"a.png", b"b.png") + END,
            "the header at byte 1,024 is missing or broken",
        ),
        (with_field(124, b"-0000000001") + END, "a header has b'-0000000001', expected a number"),
        (
            with_field(124, b"\xff" * 12) + END,
            "a header has a number that is negative or too large",
        ),
        (with_field(124, b"\x80" + b"\xff" * 11) + END, "a header states"),
        (header(b"x", 7) + padded(b"9 path=") + COAT + END, "b'9 path=', expected a pax record"),
        (header(b"x", 7) + padded(b"7 path\n") + COAT + END, "expected a pax record"),
        (header(b"x", 9) + padded(b"-9 path=\n") + COAT + END, "expected a pax record"),
        (
            header(b"x", HEADER_BYTES + 1) + END,
            "a header has 1,048,577 bytes, expected at most 1,048,576",
        ),
        (
            header(b"x", 11) + padded(record("size", "-1")) + COAT + END,
            "a header has '-1', expected a number",
        ),
        (COAT + END + COAT + END, "there is data after its end, which is not read"),
        (COAT + END + bytes(17 * 2**20), "there is data after its end, which is not read"),
    ],
)
def test_what_is_broken_says_how(content: bytes, reason: str) -> None:
    with pytest.raises(BrokenInput) as raised:
        found(content)
    assert reason in str(raised.value)


def test_a_sparse_file_says_that_it_is_not_read() -> None:
    reason = "it is a sparse file, which is not read from an archive: unpack it"
    old = with_field(156, b"S")
    major = record("GNU.sparse.major", "1") + record("GNU.sparse.name", "b.png")
    new = header(b"x", len(major)) + padded(major) + COAT
    assert [(m.name, m.fault) for m in found(old + new + COAT + END)] == [
        ("a.png", reason),
        ("b.png", reason),
        ("a.png", ""),
    ]


def test_pax_says_more_of_one_member_or_of_all() -> None:
    one = record("path", "one.png") + record("size", "4") + record("mtime", "1.5")
    for_all = record("path", "all.png")
    content = (
        header(b"g", len(for_all)) + padded(for_all)
        + header(b"x", len(one)) + padded(one) + header(size=0) + padded(b"coat")
        + COAT + END
    )  # fmt: skip
    assert [(member.name, member.size) for member in found(content)] == [
        ("one.png", 4),
        ("all.png", 4),
    ]


@pytest.mark.parametrize(
    "unit",
    [
        lambda: header(b"x", HEADER_BYTES) + record("a", "0" * (HEADER_BYTES - 11)),
        lambda: header(b"L", HEADER_BYTES) + b"0" * HEADER_BYTES,
        lambda: header(b"g", HEADER_BYTES) + record("path", "0" * (HEADER_BYTES - 14)),
        lambda: header(b"2", 0, "x" * 99),
    ],
)
def test_headers_cost_no_memory_however_many_they_are(unit: Callable[[], bytes]) -> None:
    one = unit()
    content = one * (12 * 2**20 // len(one)) + COAT + END
    file = io.BytesIO(content)
    tracemalloc.start()
    for _ in members(file):  # type: ignore[arg-type]
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * HEADER_BYTES  # of 12


def test_a_wrong_checksum_of_a_compressed_archive_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "some.tgz"
    content = bytearray(gzip.compress(COAT + END, compresslevel=0))
    place = content.index(b"coat")
    content[place] ^= 1
    path.write_bytes(content)
    (name, picture), (archive, reason) = rows(path)
    assert (name, picture, archive) == (f"{path}:a.png", b"boat", str(path))
    assert "broken or cut off after 1 pictures: CRC check failed" in reason


@given(content=archives())
def test_any_headers_are_rows_or_a_reason(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("odd") / "some.tar"
    path.write_bytes(content)
    (name, picture), *others = rows(path)
    assert (name, picture) == (f"{path}:good.png", b"coat")
    for name, picture in others:
        assert name.startswith(str(path))
        assert isinstance(picture, bytes) or 10 < len(picture) < 10_000
