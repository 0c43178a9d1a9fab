"""Write files atomically: afterwards they are all old or all new."""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from training.errors import RunError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write content to a temporary file beside path, flush it to disk, then rename it to path.

    A crash or Ctrl-C at any moment leaves the complete old or new file. If path is a link, its
    target is replaced; a device or a pipe, such as /dev/stdout, is written directly.

    Raises:
        RunError: the folder does not exist, is not writable, or is full.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes | str]) -> None:
    """Write several files as `write_atomically` does; none is replaced before all are written.

    Raises:
        RunError: a folder does not exist, is not writable, or is full.
    """
    written: dict[Path, Path] = {}  # final path -> temporary path
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
    """Write a temporary file in path's folder, flush it to disk, and return its path."""
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
    """Return the umask. mkstemp makes private files, but these files are shared."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
