"""A tar archive of pictures, compressed or not; nothing of it is ever written to a disk."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from service.picture_files import is_picture
from service.shards import LONGEST, SPAN_FILES, Block, Span, opened, shown, too_long, unread

USTAR, USTAR_AT = b"ustar", 257  # POSIX.1-2017, pax, "ustar Interchange Format"
SPAN_BYTES = 16 * 2**20  # of pictures that are held
FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Tar:
    """All regular files in it that are pictures by their suffix, as `ARCHIVE:MEMBER`."""

    path: str

    def spans(self) -> Iterator[Span]:
        """Read it from its beginning to its end, or to where it is broken."""
        found, fault = 0, ""
        run: list[_Member] = []
        held = 0  # bytes, here or by whoever reads them
        try:
            file, compressed = opened(self.path)
            with file:
                for archive, member in _members(file):
                    run.append(_take(archive, member, compressed))
                    found += 1
                    held += member.size
                    if len(run) == SPAN_FILES or held >= SPAN_BYTES:
                        yield Members(self.path, tuple(run))
                        run, held = [], 0
        except FAULTS as error:
            fault = f"the archive is broken or cut off behind {found:,} pictures: {error}"
        if run:
            yield Members(self.path, tuple(run))
        if fault:
            yield unread(self.path, fault)


class _Member(NamedTuple):
    """A picture in an archive."""

    name: str
    content: bytes | str | None  # None: to be read by whoever classifies it
    offset: int
    size: int


@dataclass(frozen=True)
class Members:
    """Some of an archive's pictures."""

    path: str
    members: tuple[_Member, ...]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.members)

    def read(self) -> Block:
        """Return them."""
        names = [shown(f"{self.path}:{member.name}") for member in self.members]
        try:
            with Path(self.path).open("rb") as file:
                return Block(names, [_content(file, member) for member in self.members])
        except OSError as error:
            return Block(names, [error.strerror or str(error)] * len(names))


class _Bounded:
    """A file of which nobody reads more at a time than a picture has, as tarfile would."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST:
            raise tarfile.ReadError(too_long("a header", f"{size:,}"))
        return self._file.read(size)


def _members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    bounded: IO[bytes] = _Bounded(file)  # type: ignore[assignment]
    with tarfile.open(fileobj=bounded, mode="r:", errors="surrogateescape") as archive:
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined] # it would keep all of them
            if member.isreg() and is_picture(member.name):
                yield archive, member


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, compressed: bool) -> _Member:
    """Note where a picture is; of a compressed archive, which must be read in order, hold it."""
    content: bytes | str | None = None
    if member.size > LONGEST:
        content = too_long("the member", f"{member.size:,}")
    elif compressed or member.issparse():
        file = archive.extractfile(member)
        content = file.read() if file else b""
        if len(content) < member.size:
            raise tarfile.ReadError("unexpected end of data")
    return _Member(member.name, content, member.offset_data, member.size)


def _content(file: IO[bytes], member: _Member) -> bytes | str:
    if member.content is not None:
        return member.content
    file.seek(member.offset)
    content = file.read(member.size)
    return content if len(content) == member.size else "the archive is cut off within it"
