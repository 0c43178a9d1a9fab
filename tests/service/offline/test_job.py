"""`python -m service classify --out` as a process: its rows, also if it is ended."""

import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from tests.service.cli.test_main import program_environment, run, wait_until
from tests.service.models import write_model
from tests.service.pictures import encode
from tests.serving import ROOT

SECONDS = 600
IMAGES = 80_000  # in a file that takes the program long enough to be killed within


@pytest.fixture(scope="module")
def numbers(images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many images in an IDX file."""
    path = tmp_path_factory.mktemp("numbers") / "many.idx"
    repeated = np.tile(images, (8, 1, 1))[:IMAGES]  # (N, 28, 28)
    head = struct.pack(">4sIII", b"\0\0\x08\x03", *repeated.shape)
    path.write_bytes(head + repeated.tobytes())
    return path


@pytest.fixture
def mixed(images: NDArray[np.uint8], tmp_path: Path) -> list[Path]:
    """Pictures in a folder and in a tar, broken ones among them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    contents = [encode(image) for image in images[:150]]
    contents[3], contents[140] = b"no picture", b""
    contents[7] = encode(np.tile(255 - images[7], (4, 4)))
    for n, content in enumerate(contents):
        (folder / f"{n:03}.png").write_bytes(content)
    archive = tmp_path / "some.tar"
    with tarfile.open(archive, "w") as file:
        for n, content in enumerate(contents):
            info = tarfile.TarInfo(f"{n:03}.png")
            info.size = len(content)
            file.addfile(info, BytesIO(content))
    return [folder, archive]


def read(out: Path) -> list[dict[str, Any]]:
    """The rows, whatever their format."""
    if out.suffix == ".jsonl":
        return [json.loads(line) for line in out.read_bytes().splitlines()]
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    return rows


@contextmanager
def running(
    *arguments: str | Path, most_bytes: int = resource.RLIM_INFINITY, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    def prepare() -> None:
        # As in a terminal: tests that run in the background ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    with subprocess.Popen(
        [sys.executable, "-m", "service", "classify", *arguments],
        cwd=ROOT,
        env=program_environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=prepare,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def size(out: Path) -> int:
    """Bytes in it, or parts."""
    if out.is_dir():
        return len(list(out.glob("part-*.parquet")))
    return out.stat().st_size if out.exists() else 0


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return not alive


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


# What happens when it ends.


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_killed_again_and_again_it_loses_and_doubles_nothing(
    name: str, numbers: Path, mixed: list[Path], tmp_path: Path
) -> None:
    whole, out = tmp_path / f"whole_{name}", tmp_path / name
    inputs = [mixed[0], numbers, mixed[1]]
    run("classify", *inputs, "--out", whole, status=1)
    moments = random.Random(0)  # noqa: S311
    kills = 0
    for _ in range(4):
        with running(*inputs, "--out", out, "--resume", "--processes", "2") as process:
            before = size(out)
            # Parts are few: there, a moment after the start will do.
            wait_until(lambda: out.is_dir() or size(out) != before, process)  # noqa: B023
            time.sleep(moments.uniform(0, 0.15))
            workers = psutil.Process(process.pid).children(recursive=True)
            kills += process.poll() is None
            process.kill()
            process.wait()
            assert gone(workers), "a process outlived its parent"
    assert kills == 4
    with out.open("ab") if out.is_file() else (out / "part-00000.parquet.tmp").open("wb") as file:
        file.write(b'{"file":"torn')
    run("classify", *inputs, "--out", out, "--resume", status=1)
    expected, found = read(whole), read(out)
    assert [row["file"] for row in found] == [row["file"] for row in expected]
    assert [row.get("label") for row in found] == [row.get("label") for row in expected]
    assert [row.get("error") for row in found] == [row.get("error") for row in expected]
    confidences = [[row.get("confidence") or 0.0 for row in rows] for rows in (found, expected)]
    np.testing.assert_allclose(*confidences, rtol=0, atol=1e-6)
    before_bytes = {path: path.read_bytes() for path in tmp_path.glob(f"{name}*") if path.is_file()}
    output, _ = run("classify", *inputs, "--out", out, "--resume")
    assert output == f"0 rows written to {out}\n"
    assert before_bytes == {path: path.read_bytes() for path in before_bytes}


@pytest.mark.parametrize(
    ("sent", "status"),
    [(signal.SIGINT, 128 + signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)],
)
def test_who_stops_it_gets_no_trace_and_whole_rows(
    sent: signal.Signals, status: int, numbers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    with running(numbers, "--out", out) as process:
        wait_until(lambda: size(out), process)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(sent)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (status, b"")
    assert b"Traceback" not in errors
    assert gone(workers)
    assert 0 < len(read(out)) < IMAGES


def test_a_worker_that_is_killed_is_told_in_one_line(numbers: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    with running(numbers, "--out", out, "--processes", "2") as process:
        wait_until(lambda: size(out), process)
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        assert len(workers) == 2
        workers[0].send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    *_, last = errors.decode().splitlines()
    assert last.startswith("error: a worker process has ended, perhaps because memory ran")
    assert gone(workers)
    run("classify", numbers, "--out", out, "--resume")
    assert len(read(out)) == IMAGES


def test_what_a_power_loss_leaves_behind_the_lines_is_made_again(
    mixed: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = ("classify", mixed[0], "--processes", "1", "--out", out)
    run(*arguments, status=1)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:145]) + lines[145][:50] + bytes(5000))
    output, _ = run(*arguments, "--resume")
    assert output == f"5 rows written to {out}\n"
    assert out.read_bytes() == whole


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


def test_a_disk_that_is_full_is_told_and_can_be_gone_on_with(
    mixed: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    with running(mixed[0], "--out", out, most_bytes=20_000) as process:
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert errors.decode().splitlines()[-1] == f"error: --out {out}: File too large"
    run("classify", mixed[0], "--out", out, "--resume", status=1)
    assert len(read(out)) == 150


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
