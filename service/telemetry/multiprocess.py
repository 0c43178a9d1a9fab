"""The files that Prometheus's client keeps the metrics of a server's workers in.

Each server has a folder of its own, and holds a lock in it, which is gone with the process: what a
server leaves behind that was killed is removed by the next one that starts.

The files are memory that is mapped to a disk: a worker that writes a new page of one when the disk
is full is ended by SIGBUS. So they get their place on the disk before, or the metrics stay in
memory.
"""

import atexit
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("bentoml.fashion_lenet")

MULTIPROC_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
KINDS = ("counter", "gauge_livemax", "gauge_livemostrecent", "gauge_livesum", "histogram")
BYTES = 256 * 1024  # all routes with all statuses take 70 KB
LOCK = "lock"


def make_folder(home: Path) -> Path:
    """Make a folder for this server, which is removed when this process ends.

    Args:
        home: of all servers' folders; where nothing can be written there, the system's temporary
            folder is taken.

    Raises:
        OSError: nothing can be written there either.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = _make_among_others(home)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="fashion-lenet-metrics-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files = folder / "files"
    files.mkdir()
    return files


def _make_among_others(home: Path) -> Path:
    everyone = _lock(home / LOCK, wait=True)  # so that none is seen before it has its lock
    try:
        for other in home.iterdir():
            if other.is_dir() and (taken := _lock(other / LOCK)) is not None:
                shutil.rmtree(other, ignore_errors=True)
                os.close(taken)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=home))
        _lock(folder / LOCK)  # and it stays open
        return folder
    finally:
        if everyone is not None:
            os.close(everyone)


def _lock(path: Path, wait: bool = False) -> int | None:
    """Lock a file until its descriptor is closed; None where another process has it."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def preallocate() -> None:
    """Make this worker's files, before Prometheus's client is imported, and drop dead workers'."""
    if MULTIPROC_DIR_VARIABLE not in os.environ:
        return
    folder = Path(os.environ[MULTIPROC_DIR_VARIABLE])
    mine = [folder / f"{kind}_{os.getpid()}.db" for kind in KINDS]
    try:
        for path in mine:
            _allocate(path)
        for path in folder.glob("gauge_live*.db"):
            if not psutil.pid_exists(int(path.stem.rpartition("_")[2])):
                path.unlink(missing_ok=True)  # another worker may do the same
    except OSError as error:
        for path in mine:
            path.unlink(missing_ok=True)
        del os.environ[MULTIPROC_DIR_VARIABLE]
        logger.warning("Each worker counts for itself in /metrics: %s", error)


def _allocate(path: Path) -> None:
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, BYTES)
