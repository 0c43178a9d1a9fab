"""Resolve the links in a tar archive to the files that they point to."""

import posixpath
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import accumulate

from service.errors import BrokenInput
from service.offline.inputs.image_contents import MAX_FILE_BYTES
from service.offline.inputs.tar_members import (
    HARD_LINK,
    REGULAR,
    SYMBOLIC_LINK,
    Member,
    members,
    read_content,
)
from service.offline.inputs.types import READING_ERRORS, display_name, open_decompressed

LINKS_BYTES = 64 * 2**20  # of link names
CONTENTS_BYTES = 256 * 2**20  # of link targets in a compressed archive
TOO_MUCH = f"links lead to more than {CONTENTS_BYTES:,} bytes: decompress the archive first"
FOLLOWED = 40  # links in a chain, as in Linux
DEEPEST = 100  # nested folders


class Links:
    """The links of an archive; if there are any, the archive is read twice more.

    A link may point to a later member, and a compressed archive cannot be read from its middle.
    """

    def __init__(self, path: str) -> None:
        """Take the path of the archive; nothing is read yet."""
        self._path = path
        self._links: dict[str, str] | None = None
        self._targets: dict[str, list[Member]] = {}
        self._contents: dict[int, bytes | str] = {}  # by offset

    def follow(self, link: Member) -> tuple[Member, bytes | str | None]:
        """Return the file that a link points to.

        Returns:
            The file, and its content if the archive is compressed; or the link, and the reason
            why it does not point to a file.
        """
        if self._links is None:
            self._links = self._find_links()
            self._find_targets(self._links)
        name = _end(_clean(link.name), self._links)
        found = self._targets.get(name, []) if name is not None else []
        if link.kind == HARD_LINK:  # it points to the earlier file with this name
            found = [file for file in found if file.offset < link.offset] or found
        if not found:
            return (
                link,
                f"it is a link to {display_name(link.target)}, which is not a file in the archive",
            )
        return found[-1], self._contents.get(found[-1].offset)

    def _find_links(self) -> dict[str, str]:
        """Return the direct target of each link by its name."""
        found: dict[str, str] = {}
        left = LINKS_BYTES
        for _, member in self._members():
            if member.kind in (HARD_LINK, SYMBOLIC_LINK):
                left -= len(member.name) + len(member.target) + 200
                if left < 0:
                    break
                found[_clean(member.name)] = _target(member)
        return found

    def _find_targets(self, links: dict[str, str]) -> None:
        """Store the files that links point to."""
        wanted = {_end(name, links) for name in links}
        left = CONTENTS_BYTES
        for read, member in self._members():
            name = _clean(member.name)
            if member.kind != REGULAR or name not in wanted:
                continue
            self._targets.setdefault(name, []).append(member)
            if read is None or member.size > MAX_FILE_BYTES or member.fault:
                continue
            left -= member.size
            self._contents[member.offset] = read() if left >= 0 else TOO_MUCH

    def _members(self) -> Iterator[tuple[Callable[[], bytes] | None, Member]]:
        """Read the archive up to where it is broken.

        Yields:
            A function that reads the member's content if the archive is compressed, else None;
            and the member.
        """
        try:
            file, compressed = open_decompressed(self._path)
            with file:
                for member in members(file):
                    yield partial(read_content, file, member) if compressed else None, member
        except (BrokenInput, *READING_ERRORS):
            return  # reported when the images are read


def _clean(name: str) -> str:
    return posixpath.normpath(f"/{name}").lstrip("/")


def _target(link: Member) -> str:
    if link.kind == HARD_LINK:
        return _clean(link.target)
    return _clean(posixpath.join("/", posixpath.dirname(link.name), link.target))


def _end(name: str, links: Mapping[str, str]) -> str | None:
    """Follow links, also of folders, to a name that is not a link; None if there is no end."""
    for _ in range(FOLLOWED):
        parts = name.split("/")
        if len(parts) > DEEPEST:
            return None
        heads = accumulate(parts, "{}/{}".format)
        found = next(((head, n) for n, head in enumerate(heads, 1) if head in links), None)
        if found is None:
            return name
        head, n = found
        name = _clean("/".join([links[head], *parts[n:]]))
    return None
