"""Parquet files that expand a lot: rows or one reason, in bounded memory."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.offline.inputs.image_contents import MAX_FILE_BYTES
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.parquet import Parquet
from service.offline.inputs.parquet_reader import MEMORY
from service.offline.inputs.types import Chunk
from tests.service.pictures import FASHION
from tests.serving import ROOT

MIB = 2**20
CORPUS = ROOT / "tests" / "hostile" / "corpus"
SECONDS = 300
PROGRAM = """
import resource, sys
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.parquet import Parquet
from tests.service.pictures import FASHION

if __name__ == "__main__":
    for span in Parquet(sys.argv[1], FASHION).chunks(Skipped()):
        block = span.read()
        for name, picture in zip(block.names, block.pictures):
            print(name.rpartition("/")[2], picture if isinstance(picture, str) else len(picture))
    status = dict(line.split(":") for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) // 1024, file=sys.stderr)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
"""


def read(path: Path) -> tuple[list[str], float, float]:
    """Read a file in a process; return its rows, and MiB that it and its reader had at most."""
    program = path.with_suffix(".py")
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    ours, readers = map(float, done.stderr.split())
    return done.stdout.splitlines(), ours, readers


def write(path: Path, column: pa.Array, **options: object) -> Path:
    parquet.write_table(pa.table({"image": column}), path, compression="zstd", **options)
    return path


def one_file_of_many_rows(path: Path) -> Path:
    column = pa.DictionaryArray.from_arrays(np.zeros(3000, np.int32), pa.array([bytes(60 * MIB)]))
    return write(path, column, store_schema=False)


def one_long_row(path: Path) -> Path:
    shutil.copy(CORPUS / "row-of-300-million-numbers.parquet", path)
    return path


def one_file_that_is_too_long(path: Path) -> Path:
    return write(path, pa.array([b"x", bytes(MAX_FILE_BYTES + 1), bytes(MAX_FILE_BYTES), b"y"]))


def many_large_files(path: Path) -> Path:
    column = pa.array([os.urandom(8) * (MIB // 8) for _ in range(400)])
    return write(path, column, use_dictionary=False)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (one_file_of_many_rows, [f"some#{n} {60 * MIB}" for n in range(3000)]),
        (
            one_long_row,
            [f"some the file is broken after 0 rows: the next row takes more than {MEMORY:,} "
             "bytes of memory"],
        ),
        (
            one_file_that_is_too_long,
            [
                "some#0 1",
                "some#1 the row has 104,857,601 bytes, a picture may have at most 104,857,600",
                f"some#2 {MAX_FILE_BYTES}",
                "some#3 1",
            ],
        ),
        (many_large_files, [f"some#{n} {MIB}" for n in range(400)]),
    ],
)  # fmt: skip
def test_memory_is_bounded_whatever_a_file_claims(
    make: Callable[[Path], Path], expected: list[str], tmp_path: Path
) -> None:
    rows, ours, readers = read(make(tmp_path / "some"))
    assert rows == expected
    assert ours < 450
    assert readers < 250 + MEMORY / MIB


def spans(path: Path) -> Iterator[Chunk]:
    return Parquet(str(path), FASHION).chunks(Skipped())


def readers() -> set[psutil.Process]:
    return {
        child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())
    }


def test_a_reader_that_ends_is_one_row(tmp_path: Path) -> None:
    path = write(tmp_path / "some", pa.array([os.urandom(MIB) for _ in range(100)]))
    before = readers()
    found = spans(path)
    rows = list(next(found).read().names)
    (reader,) = readers() - before
    reader.kill()
    for span in found:
        rows += span.read().names
    assert 1 < len(rows) < 100
    assert rows[:-1] == [f"{path}#{n}" for n in range(len(rows) - 1)]
    assert rows[-1] == str(path)
    (reason,) = span.read().pictures
    assert reason == (
        f"the file is broken after {len(rows) - 1} rows: the process that reads it has "
        "ended at the next row"
    )


def test_a_reader_ends_with_who_reads_only_the_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "some", pa.array([os.urandom(MIB) for _ in range(100)]))
    before = readers()
    found = spans(path)
    next(found)
    assert readers() - before
    found.close()  # type: ignore[attr-defined]
    assert not readers() - before


@pytest.mark.parametrize("name", ["~", "\udcff", "x y", "line\nbreak"])
def test_any_name_of_a_file_will_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "some", pa.array([b"x"]))
    path.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (span,) = Parquet(name, FASHION).chunks(Skipped())
    assert span.read().pictures == [b"x"]


def test_a_file_that_ends_pyarrow_is_one_row_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / "ends-pyarrow.parquet"
    (span,) = spans(path)
    (reason,) = span.read().pictures
    assert (
        reason
        == "the file is broken after 0 rows: the process that reads it has ended at the next row"
    )
    assert capfd.readouterr().err == ""
