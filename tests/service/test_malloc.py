"""A process that has rotated large pictures in threads does not stay large."""

import platform
import subprocess
import sys

import pytest

from tests.serving import ROOT

pytestmark = pytest.mark.serial  # it measures memory

PROGRAM = """
from concurrent.futures import ThreadPoolExecutor

import psutil
from PIL import Image

from service.malloc import tune_malloc_for_server

def turn(side):
    Image.new("RGBA", (side, side)).transpose(Image.Transpose.ROTATE_90).tobytes()
    return bytearray(1000)

def resident():
    return psutil.Process().memory_info().rss

if {given_back}:
    tune_malloc_for_server()
with ThreadPoolExecutor(2) as threads:
    list(threads.map(turn, [100] * 9))
    before = resident()
    kept = list(threads.map(turn, range(1000, 4000, 200)))
    print((resident() - before) // 2**20)
"""


def printed(program: str) -> int:
    """Run a program in a process with malloc's defaults; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=600
    )
    return int(done.stdout)


def mebibytes_kept(given_back: bool) -> int:
    return printed(PROGRAM.format(given_back=given_back))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way")
def test_large_blocks_are_given_back() -> None:
    assert mebibytes_kept(given_back=True) < 10 < mebibytes_kept(given_back=False)


REPEATED = """
import resource

from service.malloc import tune_malloc_for_batch

def work():
    held = [b"x" * (mebibytes * 2**20) for mebibytes in (1, 2, 3, 4)]
    return len(held)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {kept}:
    tune_malloc_for_batch()
work()
before = faults()
for _ in range(20):
    work()
print(faults() - before)
"""


def faults_of_repeated_work(kept: bool) -> int:
    return printed(REPEATED.format(kept=kept))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way")
def test_what_is_kept_is_not_cleared_again() -> None:
    assert faults_of_repeated_work(kept=True) < 100 < faults_of_repeated_work(kept=False)
