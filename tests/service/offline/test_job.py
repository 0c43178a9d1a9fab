"""`python -m service classify --out` as a process: its rows, what it refuses, its memory."""

import json
import struct
import time
from pathlib import Path

import httpx
import psutil
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.service.cli.program import run
from tests.service.models import write_model
from tests.service.offline.classify_process import (
    read,
    running,
    size,
)
from tests.serving import ROOT

# What is written.


def test_rows_are_the_services_answers_one_for_each_input(
    mixed: list[Path], client: httpx.Client, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    output, errors = run("classify", *mixed, "--out", out, status=1)
    assert output == f"300 rows written to {out}\n"
    assert "4 of them have no answer: their error says why" in errors
    rows = read(out)
    folder, archive = mixed
    names = [f"{n:03}.png" for n in range(150)]
    assert [row["file"] for row in rows] == [
        *(f"{folder}/{name}" for name in names),
        *(f"{archive}:{name}" for name in names),
    ]
    for row, name in zip(rows, 2 * names, strict=True):
        content = (folder / name).read_bytes()
        answer = client.post("/classify", content=content, headers={"Content-Type": "image/png"})
        del row["file"]
        if "error" in row:
            assert row == answer.json()
        else:
            assert row.pop("probabilities") == pytest.approx(
                answer.json()["probabilities"], abs=1e-6
            )
            assert row.pop("confidence") == pytest.approx(answer.json()["confidence"], abs=1e-6)
            assert row.pop("input") == pytest.approx(answer.json()["input"], abs=2e-3)
            assert row.items() <= answer.json().items()


def test_parquet_has_the_same_rows(mixed: list[Path], tmp_path: Path) -> None:
    lines, folder = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    for out in (lines, folder):
        run("classify", *mixed, "--out", out, status=1)
    table = parquet.read_table(folder)
    assert table.schema.metadata[b"model"] == b"fashion_lenet"
    labels = json.loads(table.schema.metadata[b"labels"])
    for line, row in zip(read(lines), table.to_pylist(), strict=True):
        if "error" in line:
            assert {key: value for key, value in row.items() if value is not None} == line
            continue
        # A line has the fewest digits that tell one float32 from the next.
        probabilities = dict(zip(labels, row["probabilities"], strict=True))
        assert probabilities == pytest.approx(line["probabilities"], rel=1e-7, abs=1e-40)
        assert row["confidence"] == pytest.approx(line["confidence"], rel=1e-7)
        assert (row["file"], row["label"], row["class_id"], row["error"]) == (
            *(line["file"], line["label"], line["class_id"]),
            None,
        )
        assert {key: row[key] for key in ("mode", "negated", "trimmed")} == line["preprocessing"]
        seen = {key: row[key] for key in ("shift", "unusual", "hint")}
        assert seen == pytest.approx(line["input"], abs=1e-6)


def test_choices_hold(mixed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    options = ("--mode", "photo", "--top-k", "3", "--processes", "1")
    run("classify", mixed[0], "--out", out, *options, status=1, FASHION_WATCH="0")
    row = read(out)[0]
    assert row["preprocessing"]["mode"] == "photo"
    assert len(row["probabilities"]) == 3
    assert next(iter(row["probabilities"])) == row["label"]
    assert "input" not in row


def test_what_is_damaged_is_told_with_the_remedy(mixed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_bytes(b"{}\n")
    manifest = tmp_path / "rows.jsonl.manifest.json"
    manifest.write_bytes(bytes(500))
    _, errors = run("classify", mixed[0], "--out", out, "--resume", status=2)
    assert errors == (
        f"error: --resume: {manifest} is damaged, perhaps by a power loss: what "
        f"{out} was made from is unknown: remove both, and start again\n"
    )
    out.unlink()
    manifest.unlink()
    run("classify", mixed[0], "--out", out, status=1)
    out.write_bytes(b"x\n")
    _, errors = run("classify", mixed[0], "--out", out, "--resume", status=2)
    assert errors == (
        f"error: --resume: {out} is damaged, perhaps by a power loss: line 1 is not a row: "
        "remove its lines from 1 on, and resume\n"
    )
    assert out.read_bytes() == b"x\n"


# What is refused.


def test_nothing_is_overwritten_and_nothing_else_is_gone_on_with(
    mixed: list[Path], tmp_path: Path
) -> None:
    folder, archive = mixed
    out = tmp_path / "rows.jsonl"
    run("classify", folder, "--out", out, status=1)
    content = out.read_bytes()

    def refused(*arguments: str | Path, **settings: str) -> str:
        _, errors = run("classify", *arguments, status=2, **settings)
        assert out.read_bytes() == content
        return errors

    assert "it exists: continue with --resume, or remove it and" in refused(folder, "--out", out)
    again = ("--out", out, "--resume")
    assert "inputs was" in refused(archive, *again)
    assert 'mode was "auto"; now mode is "raw"' in refused(folder, *again, "--mode", "raw")
    assert "watch was true; now watch is false" in refused(folder, *again, FASHION_WATCH="0")
    model = write_model(tmp_path / "model.onnx", version="9.9.9")
    assert "model_sha256 was" in refused(folder, *again, "--model", model)
    (folder / "000.png").unlink()
    assert "fewer images than there are rows (1 fewer); start again" in refused(folder, *again)
    (folder / "zzz.png").write_bytes(b"")
    assert f"expected {folder}/149.png for the last row, got {folder}/zzz.png" in refused(
        folder, *again
    )
    other = tmp_path / "mine.jsonl"
    other.write_text("mine\n")
    assert "it exists, but has no manifest" in refused(folder, "--out", other, "--resume")
    assert other.read_text() == "mine\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x", "--out", "rows.csv"], "the name must end with one of .jsonl, .ndjson, .parquet"),
        (["x", "--out", "x.jsonl", "--csv"], "leave out --json and --csv"),
        (["x", "--out", "x.parquet", "--top-k", "3"], "Parquet takes the probabilities of all"),
        (["x", "--out", "x.jsonl", "--top-k", "11"], "--top-k 11: the model has 10 classes"),
        (["-", "--out", "x.jsonl"], "-: standard input cannot be read again"),
        (["x", "--resume"], "--resume is for large inputs: name the results with --out"),
        (["x", "--processes", "2"], "--processes is for large inputs"),
        (["x", "--column", "a"], "--column is for large inputs"),
        (["x", "--engine", "ray"], "--engine is for large inputs"),
        (["x", "--processes", "0"], "expected a whole number of at least 1, got '0'"),
    ],
)
def test_a_wrong_command_line_is_told(arguments: list[str], reason: str, tmp_path: Path) -> None:
    _, errors = run("classify", *arguments, folder=tmp_path, status=2)
    assert reason in errors
    assert not list(tmp_path.iterdir())


def test_an_archive_without_a_place_for_its_rows_is_refused(mixed: list[Path]) -> None:
    _, errors = run("classify", mixed[1], status=2)
    assert f"{mixed[1]} holds many pictures: name the results with --out" in errors


def test_results_that_cannot_be_written_are_told(mixed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "rows.jsonl"
    _, errors = run("classify", mixed[0], "--out", out, status=1)
    assert errors == f"error: --out {out}: No such file or directory\n"
    out = tmp_path / f"{'x' * 300}.jsonl"
    _, errors = run("classify", mixed[0], "--out", out, status=1)
    assert errors == f"error: --out {out}: File name too long\n"


def test_one_bad_item_is_one_row_and_everything_else_goes_on(
    mixed: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "closed.idx").symlink_to("/proc/self/mem")  # which opens and cannot be read
    bad = {
        "itself": "Too many levels of symbolic links",
        "x" * 300: "File name too long",
        "some.tar/a.png": "Not a directory",
        "missing": "No such file or directory",
        "closed.idx": "Input/output error",
        "folder": "",
    }
    out = tmp_path / "rows.jsonl"
    (mixed[0] / "._000.png").write_bytes(b"macOS")
    (mixed[0] / "itself.png").symlink_to("itself.png")
    arguments = ("classify", *bad, "--out", out, "--processes", "1")
    output, errors = run(*arguments, folder=tmp_path, status=1)
    assert output == f"156 rows written to {out}; skipped: 1 (of macOS: 1)\n"
    assert errors == "error: 8 of them have no answer: their error says why\n"
    rows = read(out)
    for row, (name, reason) in zip(rows, list(bad.items())[:-1], strict=False):
        assert row == {"file": name, "error": reason}
    assert rows[-1] == {"file": "folder/itself.png", "error": "Too many levels of symbolic links"}


def test_without_pyarrow_parquet_names_the_extra(mixed: list[Path], tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('no pyarrow')")
    path = f"{tmp_path}:{ROOT}"
    out = tmp_path / "rows.parquet"
    _, errors = run("classify", mixed[0], "--out", out, status=2, PYTHONPATH=path)
    assert "Parquet needs pyarrow: pip install 'fashion-lenet-bn[parquet]'" in errors
    table = tmp_path / "some"
    parquet.write_table(pa.table({"image": [b"x"]}), table)
    lines = tmp_path / "rows.jsonl"
    _, errors = run("classify", table, "--out", lines, status=2, PYTHONPATH=path)
    assert "Parquet needs pyarrow" in errors


# How much memory it takes.


@pytest.mark.serial
def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    def peak(images: int) -> float:
        """MiB of all processes together, each at its most."""
        path, out = tmp_path / f"{images}.idx", tmp_path / f"{images}.jsonl"
        with path.open("wb") as file:
            file.write(struct.pack(">4sIII", b"\0\0\x08\x03", images, 28, 28))
            file.truncate(16 + images * 784)  # a hole reads as zeros
        most: dict[int, float] = {}
        with running(path, "--out", out, "--processes", "1", FASHION_WATCH="0") as process:
            parent = psutil.Process(process.pid)
            while process.poll() is None:
                for one in (parent, *parent.children()):
                    try:
                        most[one.pid] = max(most.get(one.pid, 0), one.memory_info().rss / 2**20)
                    except psutil.Error:
                        continue
                time.sleep(0.02)
            assert process.returncode == 0
        assert size(out) > 300 * images
        return sum(most.values())

    assert peak(200_000) < peak(20_000) + 15
