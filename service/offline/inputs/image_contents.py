"""Read the contents of an image file, up to the largest size of an image."""

import os
import sys
from pathlib import Path

from service.offline.inputs.image_files import STANDARD_INPUT

MAX_FILE_BYTES = 100 * 2**20  # bytes

# Files that people give in place of a folder of images, by their first bytes.
NOT_READ = {
    b"PK\x03\x04": "is a zip archive",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive",
    b"Rar!\x1a\x07": "is a RAR archive",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd",
}
HEAD_BYTES = max(map(len, NOT_READ))


def read_picture(name: str) -> bytes | str:
    """Return the bytes of a file (`-`: standard input), or the reason why it cannot be read."""
    try:
        if name == STANDARD_INPUT:
            return _standard_input()
        with Path(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                return _refusal(file.read(HEAD_BYTES)) or size_error("the file", f"{size:,}")
            # Pipes have size 0. Asking for MAX_FILE_BYTES each time takes as long as an image.
            return _checked(file.read(size + 1 if size else MAX_FILE_BYTES + 1))
    except OSError as error:
        return error.strerror or str(error)


def size_error(what: str, found: str) -> str:
    """Return the message for an image file with too many bytes."""
    return f"{what} has {found} bytes, a picture may have at most {MAX_FILE_BYTES:,}"


def _standard_input() -> bytes | str:
    if sys.stdin is None:
        return "standard input is closed"
    return _checked(sys.stdin.buffer.read(MAX_FILE_BYTES + 1))


def _checked(content: bytes) -> bytes | str:
    if len(content) > MAX_FILE_BYTES:
        return size_error("the file", f"more than {MAX_FILE_BYTES:,}")
    return _refusal(content) or content


def _refusal(head: bytes) -> str | None:
    for start, what in NOT_READ.items():
        if head.startswith(start):
            return f"it {what}, which is not read: unpack it, and name the folder, or make it a tar"
    return None
