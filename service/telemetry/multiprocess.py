"""The files in which Prometheus's client stores the metrics of a server's workers.

Each server has its own folder, and holds a lock in it until its process ends. The next server that
starts removes the folders of servers that were killed.

The files are memory-mapped: a worker that writes a new page while the disk is full is ended by
SIGBUS. Their disk space is therefore allocated first; if that fails, metrics stay in memory.
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
BYTES = 256 * 1024  # all routes with all statuses take 70 KB
CLASS_BYTES = 768 * 1024  # of counters for the models' classes, beside the others
MODEL_BYTES = 1024 * 1024  # of the models' histograms: 50 models with the longest names take 900 KB
KINDS = {
    "counter": BYTES + CLASS_BYTES,
    "gauge_livemax": BYTES,
    "gauge_livemostrecent": 2 * BYTES,
    "gauge_livesum": BYTES,
    "histogram": BYTES + MODEL_BYTES,
}
LOCK = "lock"


def make_folder(home: Path) -> Path:
    """Return a new folder for this server; it is removed when this process ends.

    Args:
        home: the parent of all servers' folders; if it is not writable, the system's temporary
            folder is used.

    Raises:
        OSError: the temporary folder is not writable either.
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
    everyone = _lock(home / LOCK, wait=True)  # a new folder has its lock before others see it
    try:
        for other in home.iterdir():
            if other.is_dir() and (taken := _lock(other / LOCK)) is not None:
                shutil.rmtree(other, ignore_errors=True)
                os.close(taken)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=home))
        _lock(folder / LOCK)  # stays open until this process ends
        return folder
    finally:
        if everyone is not None:
            os.close(everyone)


def _lock(path: Path, wait: bool = False) -> int | None:
    """Return the descriptor of a locked file; None if another process holds the lock."""
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
    """Create this worker's files, remove dead workers'; call before prometheus_client's import."""
    if MULTIPROC_DIR_VARIABLE not in os.environ:
        return
    folder = Path(os.environ[MULTIPROC_DIR_VARIABLE])
    mine = {folder / f"{kind}_{os.getpid()}.db": size for kind, size in KINDS.items()}
    try:
        for path, size in mine.items():
            _allocate(path, size)
        for path in folder.glob("gauge_live*.db"):
            if not psutil.pid_exists(int(path.stem.rpartition("_")[2])):
                path.unlink(missing_ok=True)  # another worker may do the same
    except OSError as error:
        for path in mine:
            path.unlink(missing_ok=True)
        del os.environ[MULTIPROC_DIR_VARIABLE]
        logger.warning("Each worker counts for itself in /metrics: %s", error)


def _allocate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
