"""Files that are either the old ones or the new ones, never half of each."""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from training.errors import RunError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write content beside path, flush it to the disk, then rename it over path.

    A crash or Ctrl-C at any moment leaves the old file or the new one whole. A link stays, and
    what it points to is replaced; a device or a pipe, such as /dev/stdout, is written to.

    Raises:
        RunError: the folder does not exist, is not writable, or is full.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes | str]) -> None:
    """Write several files as `write_atomically` does; none is replaced before all are written.

    Raises:
        RunError: as there.
    """
    written: dict[Path, Path] = {}  # where it goes -> where it is until then
    path = Path()
    try:
        for path, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            if path.exists() and not path.is_file() and not path.is_dir():
                path.write_bytes(data)
            else:
                target = Path(os.path.realpath(path))
                written[target] = _write_beside(target, data)
        for path, temporary in written.items():
            temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists, is writable, and "
            "has room"
        ) from error
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def _write_beside(path: Path, data: bytes) -> Path:
    """Write a temporary file in path's folder, to its last byte on the disk."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _umask() -> int:
    """Read the umask. mkstemp makes private files, but these are meant to be shared."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
