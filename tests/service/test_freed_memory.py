"""A process that has turned large pictures in threads is as small as before."""

import platform
import subprocess
import sys

import pytest

from tests.serving import ROOT

PROGRAM = """
from concurrent.futures import ThreadPoolExecutor

import psutil
from PIL import Image

from service.freed_memory import give_back_large_blocks

def turn(side):
    Image.new("RGBA", (side, side)).transpose(Image.Transpose.ROTATE_90).tobytes()
    return bytearray(1000)

def resident():
    return psutil.Process().memory_info().rss

if {given_back}:
    give_back_large_blocks()
with ThreadPoolExecutor(2) as threads:
    list(threads.map(turn, [100] * 9))
    before = resident()
    kept = list(threads.map(turn, range(1000, 4000, 200)))
    print((resident() - before) // 2**20)
"""


def mebibytes_kept(given_back: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(given_back=given_back)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way")
def test_large_blocks_are_given_back() -> None:
    assert mebibytes_kept(given_back=True) < 10 < mebibytes_kept(given_back=False)
