"""Whether this machine has an NVIDIA driver, and libraries that replace one."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from service.runtime.cuda import DRIVER


def has_gpu() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


no_gpu = pytest.mark.skipif(has_gpu(), reason="this machine has an NVIDIA driver")


def driver(folder: Path, version: int | None, status: int = 0) -> Path:
    """Build a driver library that only returns its version; None: not even that."""
    function = f"int cuDriverGetVersion(int *version) {{ *version = {version}; return {status}; }}"
    return _library(folder, "int nothing;" if version is None else function)


def driver_without_device(folder: Path, version: int) -> Path:
    """Build a driver library with which CUDA's libraries load, and find no GPU."""
    return _library(
        folder,
        f"int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}"
        "int cuInit(unsigned flags) { return 100; }"
        "int cuTensorMapEncodeTiled(void) { return 100; }"
        "int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long flags,"
        " void *status) { *found = 0; return 500; }",
    )


def _library(folder: Path, source: str) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("this machine has no C compiler")
    path, library = folder / "driver.c", folder / "libcuda.so.1"
    path.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, path], check=True)
    return library
