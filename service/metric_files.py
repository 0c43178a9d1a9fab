"""The files that Prometheus's client keeps a worker's metrics in.

They are memory that is mapped to a disk: a worker that writes a new page of one when the disk is
full is ended by SIGBUS. So they get their place on the disk before, or the metrics stay in memory.
"""

import logging
import os
from pathlib import Path

import psutil  # type: ignore[import-untyped]

logger = logging.getLogger("bentoml.fashion_lenet")

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
KINDS = ("counter", "gauge_livemax", "gauge_livemostrecent", "gauge_livesum", "histogram")
BYTES = 256 * 1024  # all routes with all statuses take 70 KB


def reserve() -> None:
    """Make this worker's files, before Prometheus's client is imported, and drop dead workers'."""
    if FOLDER not in os.environ:
        return
    folder = Path(os.environ[FOLDER])
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
        del os.environ[FOLDER]
        logger.warning("Each worker counts for itself in /metrics: %s", error)


def _allocate(path: Path) -> None:
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, BYTES)
