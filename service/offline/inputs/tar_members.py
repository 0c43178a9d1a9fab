"""Read the members of a tar archive in one pass, with bounded time and memory for any header.

Python's tarfile recurses for each header of a member, can take quadratic time in the length of a
header, stops silently at a header with a wrong checksum, and keeps all members in memory.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar's manual,
"Basic Tar Format".
"""

from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from typing import NamedTuple

from service.errors import BrokenInput

BLOCK = 512
HEADER_BYTES = 2**20  # of a header about the next member: files can have long attributes
NAME_CHARACTERS = 4096  # Linux's PATH_MAX
PADDING_BYTES = 16 * 2**20  # after the end
FURTHEST = 2**62

REGULAR, HARD_LINK, SYMBOLIC_LINK, FOLDER, SPARSE = b"0", b"1", b"2", b"5", b"S"
ALSO_REGULAR = (b"\0", b"7")
WITHOUT_CONTENT = (HARD_LINK, SYMBOLIC_LINK, b"3", b"4", FOLDER, b"6")
LONG_NAMES = {b"L": "path", b"K": "linkpath"}  # GNU
PAX, PAX_FOR_ALL = (b"x", b"X"), b"g"
PAX_KEYS = ("path", "linkpath", "size", "GNU.sparse.name", "GNU.sparse.major", "GNU.sparse.map")


class Member(NamedTuple):
    """A file, a link, a folder or something else in an archive."""

    name: str
    kind: bytes  # its type flag
    target: str  # of a link
    offset: int  # of its content
    size: int
    fault: str = ""  # why it cannot be read


def members(file: BufferedIOBase) -> Iterator[Member]:
    """Yield the members of an archive in order; the caller may seek in the file in between.

    Raises:
        BrokenInput: the file is not an archive, or it is broken or cut off.
        OSError, EOFError, zlib.error, lzma.LZMAError: it cannot be read.
    """
    at = 0
    for_all: dict[str, str] = {}
    for_next: dict[str, str] = {}
    while any(block := _read(file, at, BLOCK)):
        _check(block, at)
        at += BLOCK
        kind, size = block[156:157], _number(block[124:136])
        if kind in LONG_NAMES:
            for_next[LONG_NAMES[kind]] = _text(_read_header(file, at, size))
        elif kind in PAX:
            for_next.update(_records(_read_header(file, at, size)))
        elif kind == PAX_FOR_ALL:
            for_all.update(_records(_read_header(file, at, size)))
        else:
            member = _member(block, at, for_all | for_next)
            yield member
            size, for_next = member.size, {}
        at += -(-size // BLOCK) * BLOCK
    _check_end(file)


def read_content(file: BufferedIOBase, member: Member) -> bytes:
    """Return the content of a file in an archive.

    Raises:
        BrokenInput: the archive is cut off within it.
        OSError, EOFError, zlib.error, lzma.LZMAError: it cannot be read.
    """
    return _read(file, member.offset, member.size)


def _member(block: bytes, offset: int, extended: Mapping[str, str]) -> Member:
    """Return a member from its own header; `extended` are the values of the headers before it."""
    name, kind, fault = _text(block[:100]), block[156:157], ""
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    name, target = extended.get("path", name), extended.get("linkpath", _text(block[157:257]))
    size = _decimal(extended["size"]) if "size" in extended else _number(block[124:136])
    if kind in ALSO_REGULAR:
        kind = FOLDER if name.endswith("/") else REGULAR
    if kind in WITHOUT_CONTENT:
        size = 0
    if kind == SPARSE or "GNU.sparse.major" in extended or "GNU.sparse.map" in extended:
        name, kind = extended.get("GNU.sparse.name", name), REGULAR
        fault = "it is a sparse file, which is not read from an archive: unpack it"
    longest = max(len(name), len(target))
    if longest > NAME_CHARACTERS:
        name, target = name[:NAME_CHARACTERS], target[:NAME_CHARACTERS]
        fault = f"its name or link has {longest:,} characters, expected at most {NAME_CHARACTERS:,}"
    return Member(name, kind, target, offset, size, fault)


def _read(file: BufferedIOBase, at: int, size: int) -> bytes:
    if at + size > FURTHEST:
        raise BrokenInput(f"a header states {size:,} bytes")
    if file.tell() != at:
        file.seek(at)
    content = file.read(size)
    if len(content) < size:
        raise BrokenInput("it is cut off")
    return content


def _check(block: bytes, at: int) -> None:
    """Check a header's checksum; some old programs summed signed bytes."""
    summed = block[:148] + b" " * 8 + block[156:]
    total = sum(summed)
    checksum = _number(block[148:156])
    if checksum != total and checksum != total - 256 * sum(byte > 127 for byte in summed):
        raise BrokenInput(f"the header at byte {at:,} is missing or broken")


def _number(field: bytes) -> int:
    """Return the value of a field: octal digits, or GNU's binary number if it is too large."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise BrokenInput("a header has a number that is negative or too large")
        return int.from_bytes(field[1:], "big")
    text = field.partition(b"\0")[0].strip()
    if text.strip(b"01234567"):
        raise BrokenInput(f"a header has {text!r}, expected a number")
    return int(text or b"0", 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BrokenInput(f"a header has {text[:40]!r}, expected a number")
    return int(text)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _read_header(file: BufferedIOBase, at: int, size: int) -> bytes:
    if size > HEADER_BYTES:
        raise BrokenInput(f"a header has {size:,} bytes, expected at most {HEADER_BYTES:,}")
    return _read(file, at, size)


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    r"""Yield the keys and values of the pax records `LENGTH KEY=VALUE\n` that are in PAX_KEYS."""
    at = 0
    while at < len(content):
        length = content[at : at + 8].partition(b" ")[0]
        end = at + int(length) if length.isdigit() else 0
        key, equals, value = content[at + len(length) + 1 : end].partition(b"=")
        if not equals or not value.endswith(b"\n") or end > len(content):
            raise BrokenInput(f"a header has {content[at : at + 20]!r}, expected a pax record")
        if (name := _text(key)) in PAX_KEYS:
            yield name, _text(value[:-1])
        at = end


def _check_end(file: BufferedIOBase) -> None:
    """Check that only padding follows the end; this also checks a compressed file's checksum."""
    behind = 0
    while content := file.read(2**16):
        behind += len(content)
        if any(content) or behind > PADDING_BYTES:
            raise BrokenInput("there is data after its end, which is not read")
