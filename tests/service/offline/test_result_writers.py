"""Continued results: complete rows are counted, others are cut off or reported."""

import errno
import os
import re
import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.errors import InputError
from service.offline import result_writers
from service.offline.classify_chunk import EncodedRows
from service.offline.manifest import claim_output
from service.offline.result_writers import (
    PART_SECONDS,
    JSONLinesFile,
    ParquetFolder,
    open_results,
)
from service.offline.row_formats import ArrowEncoder, JSONLinesEncoder, arrow_schema
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings

LINES = b"".join(b'{"file":"%d","error":"no picture"}\n' % n for n in range(3))


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(ServiceSettings(device="cpu"))


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


def test_an_empty_line_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\n{"file":"a"}\n')
    file = JSONLinesFile(path, JSONLinesEncoder())
    assert (file.rows, file.last) == (2, "a")
    file.close()


@pytest.mark.parametrize("line", [b"x", b"{}", b'{"file":"to', b"3", b"", b"[]", b"\xff"])
def test_a_damaged_line_is_told_with_the_remedy_and_left(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + line + b"\ntorn")
    with pytest.raises(InputError) as caught:
        JSONLinesFile(path, JSONLinesEncoder())
    assert str(caught.value) == (
        f"--resume: {path} is damaged, perhaps by a power loss: line 4 is not a row: remove its "
        "lines from 4 on, and resume"
    )
    assert path.read_bytes() == LINES + line + b"\ntorn"


def test_a_damaged_or_missing_part_is_told_with_the_remedy(tmp_path: Path) -> None:
    schema = arrow_schema(("a", "b"), "model", "1.0.0")
    first, second = (tmp_path / f"part-0000{n}.parquet" for n in range(2))
    parquet.write_table(pa.table({"file": ["x", "y", "z"]}), first)
    folder = ParquetFolder(tmp_path, schema)
    assert (folder.rows, folder.last) == (3, "z")
    whole = first.read_bytes()
    for content in (b"", bytes(len(whole)), whole[:-20], whole[:-8] + b"\xff" * 4 + b"PAR1"):
        first.write_bytes(content)
        with pytest.raises(InputError, match=r"remove it, and the parts after it, and resume$"):
            ParquetFolder(tmp_path, schema)
    for table, reason in (
        (pa.table({"other": ["x"]}), "No match for FieldRef.*"),
        (pa.table({"file": pa.array([], pa.string())}), "it has no rows"),
    ):
        parquet.write_table(table, first)
        with pytest.raises(InputError) as caught:
            ParquetFolder(tmp_path, schema)
        assert re.fullmatch(
            f"--resume: {first} is damaged, perhaps by a power loss: {reason}: "
            "remove it, and the parts after it, and resume",
            str(caught.value),
            re.DOTALL,
        )
    first.rename(second)
    with pytest.raises(InputError) as caught:
        ParquetFolder(tmp_path, schema)
    assert str(caught.value) == f"--resume: {first} is missing: remove the parts after it"


def arrow_piece(schema: Any, names: list[str]) -> EncodedRows:
    columns = {
        field.name: pa.array(names) if field.name == "file" else pa.nulls(len(names), field.type)
        for field in schema
    }
    batch = pa.record_batch(list(columns.values()), schema=schema)
    return EncodedRows(len(names), 0, batch.serialize().to_pybytes())


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.ndjson"])
def test_json_lines_have_the_classes_that_are_asked_for(
    name: str, tmp_path: Path, model: OnnxModel
) -> None:
    file = open_results(tmp_path / name, model, 3)()
    assert file.encoder == JSONLinesEncoder(3)
    assert (file.rows, file.last) == (0, None)
    file.close()
    assert (tmp_path / name).read_bytes() == b""


def test_parquet_has_the_schema_of_the_model(tmp_path: Path, model: OnnxModel) -> None:
    schema = arrow_schema(model.labels, model.name, model.version)
    folder = open_results(tmp_path / "rows.parquet", model, None)()
    assert (folder.rows, folder.last) == (0, None)
    assert isinstance(folder.encoder, ArrowEncoder)
    folder.write(arrow_piece(schema, ["x"]))
    folder.close()
    folder.close()  # writes nothing more
    (part,) = (tmp_path / "rows.parquet").iterdir()
    assert parquet.read_schema(part).metadata == schema.metadata
    columns = parquet.read_metadata(part).row_group(0)
    found = [columns.column(at) for at in range(columns.num_columns)]
    assert {column.compression for column in found} == {"ZSTD"}
    with_dictionary = [column.path_in_schema for column in found if column.has_dictionary_page]
    assert with_dictionary == ["label", "mode", "hint", "error"]


def test_a_name_or_an_option_that_fits_no_format_is_refused(
    tmp_path: Path, model: OnnxModel
) -> None:
    out = tmp_path / "rows.csv"
    with pytest.raises(InputError) as caught:
        open_results(out, model, None)
    assert str(caught.value) == (
        f"--out {out}: the name must end with one of .jsonl, .ndjson, .parquet"
    )
    with pytest.raises(InputError) as caught:
        open_results(tmp_path / "rows.parquet", model, 3)
    assert str(caught.value) == "--top-k: Parquet takes the probabilities of all classes"


def test_a_part_is_written_when_it_has_its_rows_or_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(result_writers, "PART_ROWS", 4)
    schema = arrow_schema(("a", "b"), "model", "1.0.0")
    folder = ParquetFolder(tmp_path, schema)

    def parts_after(names: str, seconds: float = 0.0) -> int:
        now[0] += seconds
        folder.write(arrow_piece(schema, list(names)))
        return len(list(tmp_path.iterdir()))

    assert [parts_after("ab"), parts_after("c"), parts_after("d")] == [0, 0, 1]
    assert [parts_after("e", PART_SECONDS), parts_after("f", 1.0)] == [1, 2]
    assert [parts_after("g", PART_SECONDS), parts_after("h", 1.0)] == [2, 3]
    assert folder.rows == 8
    folder.close()
    assert parquet.read_table(tmp_path).column("file").to_pylist() == list("abcdefgh")
    again = ParquetFolder(tmp_path, schema)
    assert (again.rows, again.last) == (8, "h")
    again.write(arrow_piece(schema, ["i"]))
    again.close()
    assert (tmp_path / "part-00003.parquet").exists()


def test_parts_that_were_not_finished_are_removed(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet.tmp").touch()
    (tmp_path / "notes.tmp").touch()
    ParquetFolder(tmp_path, arrow_schema(("a", "b"), "model", "1.0.0"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.tmp"]


def test_lines_are_appended_to_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + b"torn")
    file = JSONLinesFile(path, JSONLinesEncoder())
    file.write(EncodedRows(3, 0, LINES))
    assert file.rows == 6
    file.close()
    assert path.read_bytes() == LINES * 2


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
