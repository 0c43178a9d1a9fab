"""Continued results: complete rows are counted, others are cut off or reported."""

import errno
import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.errors import InputError
from service.offline.classify_chunk import EncodedRows
from service.offline.manifest import claim_output
from service.offline.result_writers import JSONLinesFile, ParquetFolder
from service.offline.row_formats import JSONLinesEncoder, arrow_schema

LINES = b"".join(b'{"file":"%d","error":"no picture"}\n' % n for n in range(3))


@pytest.mark.parametrize(
    "tail",
    [b"", b'{"file":"torn', bytes(5000), bytes(5000) + b"\n", b"torn" + bytes(9) + LINES, b"\0"],
)
def test_what_is_torn_is_cut_off(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + tail)
    file = JSONLinesFile(path, JSONLinesEncoder())
    assert (file.rows, file.last) == (3, "2")
    file.close()
    assert path.read_bytes() == LINES


@pytest.mark.parametrize("length", [2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_lines_of_any_length_are_counted(length: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    long = orjson.dumps({"file": "x" * (length - 12)}) + b"\n"
    assert len(long) == length
    path.write_bytes(long + LINES + long + b"\0" + LINES)
    file = JSONLinesFile(path, JSONLinesEncoder())
    assert (file.rows, file.last) == (5, "x" * (length - 12))
    file.close()
    assert path.read_bytes() == long + LINES + long


@pytest.mark.parametrize("line", [b"x", b"{}", b'{"file":"to', b"3", b"", b"[]", b"\xff"])
def test_a_damaged_line_is_told_with_the_remedy_and_left(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + line + b"\ntorn")
    with pytest.raises(
        InputError, match=r"line 4 is not a row: remove its lines from 4 on, and resume"
    ):
        JSONLinesFile(path, JSONLinesEncoder())
    assert path.read_bytes() == LINES + line + b"\ntorn"


def test_a_damaged_or_missing_part_is_told_with_the_remedy(tmp_path: Path) -> None:
    schema = arrow_schema(("a", "b"), "model", "1.0.0")
    first, second = (tmp_path / f"part-0000{n}.parquet" for n in range(2))
    parquet.write_table(pa.table({"file": ["x", "y"]}), first)
    folder = ParquetFolder(tmp_path, schema)
    assert (folder.rows, folder.last) == (2, "y")
    whole = first.read_bytes()
    for content in (b"", bytes(len(whole)), whole[:-20], whole[:-8] + b"\xff" * 4 + b"PAR1"):
        first.write_bytes(content)
        with pytest.raises(InputError, match=r"remove it, and the parts after it, and resume$"):
            ParquetFolder(tmp_path, schema)
    for table in (pa.table({"other": ["x"]}), pa.table({"file": pa.array([], pa.string())})):
        parquet.write_table(table, first)
        with pytest.raises(InputError, match=r"part-00000.parquet is damaged, perhaps by a power"):
            ParquetFolder(tmp_path, schema)
    first.rename(second)
    with pytest.raises(InputError, match=r"part-00000.parquet is missing: remove the parts after"):
        ParquetFolder(tmp_path, schema)


def arrow_piece(schema: Any, names: list[str]) -> EncodedRows:
    columns = {
        field.name: pa.array(names) if field.name == "file" else pa.nulls(len(names), field.type)
        for field in schema
    }
    batch = pa.record_batch(list(columns.values()), schema=schema)
    return EncodedRows(len(names), 0, batch.serialize().to_pybytes())


class Disk:
    """Records a folder's content at each fsync, or raises as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, full: bool = False) -> None:
        self.seen: list[list[str]] = []
        self.files: list[int] = []  # the inodes that reached it
        self.folder, self.full = folder, full
        monkeypatch.setattr(os, "fsync", self.note)

    def note(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files.append(os.fstat(descriptor).st_ino)
        found = self.folder.rglob("*")
        self.seen.append(sorted(f"{path.name}" for path in found if path.stat().st_size))


def test_lines_are_in_the_file_once_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, tmp_path)
    file = JSONLinesFile(tmp_path / "rows.jsonl", JSONLinesEncoder())
    file.write(EncodedRows(3, 0, LINES))
    assert (tmp_path / "rows.jsonl").read_bytes() == LINES
    file.close()
    assert disk.seen == [["rows.jsonl"]]


def test_a_part_has_its_name_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, tmp_path)
    schema = arrow_schema(("a", "b"), "model", "1.0.0")
    folder = ParquetFolder(tmp_path, schema)
    folder.write(arrow_piece(schema, ["x", "y"]))
    folder.close()
    assert disk.seen == [["part-00000.parquet.tmp"]]
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == disk.files  # renamed, not copied
    assert ParquetFolder(tmp_path, schema).last == "y"


def test_a_manifest_has_its_name_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, tmp_path)
    claim_output(tmp_path / "rows.jsonl", {"mode": "auto"}, resume=False)
    assert disk.seen == [["rows.jsonl.manifest.json.tmp"]]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl.manifest.json"]
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == disk.files


def test_what_does_not_reach_the_disk_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, tmp_path, full=True)
    schema = arrow_schema(("a", "b"), "model", "1.0.0")
    folder = ParquetFolder(tmp_path / "rows.parquet", schema)
    folder.write(arrow_piece(schema, ["x"]))
    with pytest.raises(OSError, match="No space left"):
        folder.close()
    with pytest.raises(OSError, match="No space left"):
        claim_output(tmp_path / "rows.jsonl", {"mode": "auto"}, resume=False)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".tmp"}
