"""Files that are either the old ones or the new ones, never half of each."""

import os
import tempfile
from pathlib import Path

from training.errors import RunError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write content beside path, flush it to the disk, then rename it over path.

    A crash or Ctrl-C at any moment leaves the old file or the new one whole.

    Raises:
        RunError: the folder does not exist, is not writable, or is full.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        _write_and_rename(path, data)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists and is writable"
        ) from error


def _write_and_rename(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def _umask() -> int:
    """Read the umask. mkstemp makes private files, but these are meant to be shared."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
