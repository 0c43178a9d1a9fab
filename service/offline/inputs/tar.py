"""Images in a tar archive, compressed or not; nothing is ever extracted to disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from service.errors import BrokenInput
from service.offline.inputs.image_contents import MAX_FILE_BYTES, size_error
from service.offline.inputs.image_files import NO_FILE, Skipped, reason_to_skip
from service.offline.inputs.tar_links import Links
from service.offline.inputs.tar_members import (
    FOLDER,
    HARD_LINK,
    REGULAR,
    SYMBOLIC_LINK,
    Member,
    members,
    read_content,
)
from service.offline.inputs.types import (
    CHUNK_FILES,
    READING_ERRORS,
    Chunk,
    ImageBatch,
    UnreadableInput,
    display_name,
    open_decompressed,
)

USTAR, USTAR_AT = b"ustar", 257  # POSIX.1-2017, pax, "ustar Interchange Format"
CHUNK_BYTES = 16 * 2**20  # of images in memory


@dataclass(frozen=True)
class Tar:
    """The files, and links to files, with an image suffix; their names are `ARCHIVE:MEMBER`."""

    path: str

    def chunks(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield the images in chunks, in order, up to the end or to where the archive is broken."""
        found, fault = 0, ""
        run: list[_Picture] = []
        held = 0  # bytes, in this process or in the one that reads the chunk
        try:
            for picture in _pictures(self.path, skipped):
                run.append(picture)
                found += 1
                held += picture.size
                if len(run) == CHUNK_FILES or held >= CHUNK_BYTES:
                    yield Members(self.path, tuple(run))
                    run, held = [], 0
        except (BrokenInput, *READING_ERRORS) as error:
            reason = str(error) or type(error).__name__
            fault = f"the archive is broken or cut off after {found:,} pictures: {reason}"
        if run:
            yield Members(self.path, tuple(run))
        if fault:
            yield UnreadableInput(self.path, fault)


class _Picture(NamedTuple):
    """An image in an archive."""

    name: str
    content: bytes | str | None  # None: read later, by the process that classifies it
    offset: int
    size: int


@dataclass(frozen=True)
class Members:
    """A chunk of an archive's images."""

    path: str
    pictures: tuple[_Picture, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pictures)

    def read(self) -> ImageBatch:
        """Return the images, or the reasons why they cannot be read."""
        names = [display_name(f"{self.path}:{picture.name}") for picture in self.pictures]
        try:
            with Path(self.path).open("rb") as file:
                return ImageBatch(names, [_content(file, picture) for picture in self.pictures])
        except OSError as error:
            return ImageBatch(names, [error.strerror or str(error)] * len(names))


def _pictures(path: str, skipped: Skipped) -> Iterator[_Picture]:
    links = Links(path)
    file, compressed = open_decompressed(path)
    with file:
        for member in members(file):
            if reason := _reason_to_skip(member):
                skipped[reason] += 1
            elif member.kind == REGULAR:
                yield _picture(member, member, file if compressed else None)
            elif member.kind != FOLDER:
                target, content = links.follow(member)
                yield _picture(member, target, None, content)


def _reason_to_skip(member: Member) -> str | None:
    if member.kind == FOLDER:
        return None
    if reason := reason_to_skip(member.name):
        return reason
    return None if member.kind in (REGULAR, HARD_LINK, SYMBOLIC_LINK) else NO_FILE


def _picture(
    member: Member,
    target: Member,
    compressed: BufferedIOBase | None,
    content: bytes | str | None = None,
) -> _Picture:
    """Return the position of an image, and its content if the archive is compressed.

    A compressed archive must be read in order.
    """
    if member.fault or target.fault:
        content = member.fault or target.fault
    elif target.size > MAX_FILE_BYTES:
        content = size_error("the member", f"{target.size:,}")
    elif compressed:
        content = read_content(compressed, target)
    return _Picture(member.name, content, target.offset, target.size)


def _content(file: BufferedIOBase, picture: _Picture) -> bytes | str:
    if picture.content is not None:
        return picture.content
    file.seek(picture.offset)
    content = file.read(picture.size)
    return content if len(content) == picture.size else "the archive is cut off within it"
