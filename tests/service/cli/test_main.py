"""`python -m service` as a process, and the commands of docs/command_line.md."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.preprocessing.formats import SERVED
from service.settings import RELEASED_MODEL
from tests.service.cli.program import PASSED_OVER, SAMPLES, SECONDS, program_environment, run
from tests.service.many_models import OTHER_LABELS
from tests.service.models import metadata, with_wrong_golden_samples, write_model
from tests.service.pictures import encode
from tests.service.runtime.drivers import no_gpu
from tests.serving import ROOT

PAGE = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
PYTHON = ".venv/serve/bin/python"
BLOCKS = [  # the others are test_ray_engine.py's
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if PYTHON in block
]


@pytest.fixture
def boots(ankle_boot: NDArray[np.uint8], tmp_path: Path) -> Path:
    """A folder with a picture, another file, and a picture, in this order of their names."""
    (tmp_path / "a.png").write_bytes(encode(ankle_boot))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(encode(ankle_boot))
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS)
def test_the_pages_commands_do_what_it_says(block: str, tmp_path: Path) -> None:
    for name in ("service", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = block.replace(PYTHON, sys.executable)
    assert command != block
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],  # noqa: S607
        cwd=tmp_path,
        env=program_environment({}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr.replace(f"{PASSED_OVER}\n", "")) == (0, "")
    table = tmp_path / "classes.csv"
    shown = done.stdout + (table.read_text() if table.exists() else "")
    assert "Bag" in shown


def test_a_table_is_aligned_and_names_every_file() -> None:
    output, errors = run("classify", SAMPLES)
    head, *rows = output.splitlines()
    assert head.split() == ["file", "label", "confidence"]
    assert len(rows) == 10
    assert {len(line) for line in (head, *rows)} == {len(head)}
    assert rows[0].startswith(f"{SAMPLES}/ankle_boot.png  Ankle boot ")
    assert 0.9 < float(rows[0].split()[-1]) <= 1
    assert errors == f"{PASSED_OVER}\n"


def test_the_table_says_unusual_beside_the_label(
    ankle_boot: NDArray[np.uint8], tmp_path: Path
) -> None:
    (tmp_path / "boot.png").write_bytes(encode(ankle_boot))
    (tmp_path / "negated.png").write_bytes(encode(255 - ankle_boot))
    output, _ = run("classify", "--top-k", "2", tmp_path)
    head, boot, negated = output.splitlines()
    assert head.split() == ["file", "label", "confidence", "label_2", "confidence_2"]
    assert "(unusual)" not in boot
    assert re.match(r"\S+negated\.png  [A-Z][\w/ -]+ \(unusual\) +[01]\.\d{4}  [A-Z]", negated)
    assert len(head) == len(boot) == len(negated)


def test_csv_is_read_back() -> None:
    output, _ = run("classify", "--csv", "--top-k", "2", SAMPLES)
    rows = list(csv.DictReader(StringIO(output)))
    assert list(rows[0]) == ["file", "label", "confidence", "label_2", "confidence_2"]
    assert [row["label"] for row in rows[:2]] == ["Ankle boot", "Bag"]
    for row in rows:
        assert 1 >= float(row["confidence"]) >= float(row["confidence_2"]) >= 0


@pytest.mark.parametrize("query", [{}, {"top_k": 3}, {"mode": "photo"}])
def test_json_lines_are_the_services_answers(
    query: dict[str, str | int], client: httpx.Client, boots: Path
) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in query.items()]
    output, _ = run("classify", "--json", *options, boots / "a.png", boots / "c.png")
    content = (boots / "a.png").read_bytes()
    served = client.post(
        "/classify", params=query, content=content, headers={"Content-Type": "image/png"}
    )
    for line, name in zip(output.splitlines(), ("a.png", "c.png"), strict=True):
        found = json.loads(line)
        assert found.pop("file") == str(boots / name)
        assert found == served.json()


def test_bad_files_are_named_and_the_rest_is_classified(boots: Path) -> None:
    output, errors = run("classify", boots, boots / "missing.png", status=1)
    assert [line.split()[0] for line in output.splitlines()[1:]] == [
        str(boots / "a.png"),
        str(boots / "c.png"),
    ]
    assert errors.splitlines() == [
        f"error: {boots / 'bad.png'}: the image (10 bytes) is not a {SERVED} file",
        f"error: {boots / 'missing.png'}: No such file or directory",
        "error: 2 of 4 pictures could not be classified",
    ]


def test_an_empty_folder_is_a_fault(tmp_path: Path) -> None:
    _, errors = run("classify", tmp_path, status=1)
    expected = f"error: {tmp_path}: there is no picture in this folder, by its files' names\n"
    assert errors == expected


def test_a_picture_comes_from_standard_input(ankle_boot: NDArray[np.uint8]) -> None:
    output, _ = run("classify", "--csv", "-", given=encode(ankle_boot))
    assert output.splitlines()[1].startswith("-,Ankle boot,0.")
    _, errors = run("classify", "-", given=b"", status=1)
    assert errors.startswith("error: -: the image is empty")


NAMES = (
    *("a,b.png", "[1].png", "{x.png", 'q"q.png', "-x.png", "--json", "null", " .png"),
    *("line\nbreak.png", "\x1b[2J.png", "täxt.png", "靴.png", "=1+1.png"),
    os.fsdecode(b"\xff.png"),
)


def test_any_name_of_a_file_is_one_file(ankle_boot: NDArray[np.uint8], tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(encode(ankle_boot))
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in NAMES]
    output, _ = run("classify", "--json", "--", *NAMES, folder=tmp_path)
    assert [json.loads(line)["file"] for line in output.split("\n")[:-1]] == shown
    output, _ = run("classify", "--csv", "--", *NAMES, folder=tmp_path)
    assert [row[0] for row in csv.reader(StringIO(output))] == ["file", *shown]
    output, _ = run("classify", "--", *NAMES, folder=tmp_path)
    assert len(output.splitlines()) == 1 + len(NAMES)
    assert output.count("Ankle boot") == len(NAMES)
    assert "\x1b" not in output


def test_names_in_complaints_do_not_command_the_terminal(tmp_path: Path) -> None:
    _, errors = run("classify", "--", "\x1b[2J\n.png", folder=tmp_path, status=1)
    assert errors == "error: \\x1b[2J\\n.png: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "the following arguments are required: program"),
        (("serve",), "invalid choice: 'serve'"),
        (("classify",), "the following arguments are required: INPUT"),
        (("classify", "-", "--csv", "--json"), "--json: not allowed with argument --csv"),
        (("classify", "-", "--mode", "x"), "argument --mode: invalid choice: 'x'"),
        (
            ("classify", "-", "--top-k", "0"),
            "argument --top-k: expected a whole number of at least 1, got '0'",
        ),
        (("classify", "-", "--top-k", "11"), "error: --top-k 11: the model has 10 classes"),
        (("classify", "-", "--device", "gpu"), "argument --device: invalid choice: 'gpu'"),
        (("info", "--js"), "unrecognized arguments: --js"),
    ],
)
def test_a_wrong_command_line_is_told_with_status_2(arguments: Sequence[str], reason: str) -> None:
    output, errors = run(*arguments, status=2)
    assert output == ""
    assert reason in errors


def test_a_wrong_setting_is_told_with_status_2() -> None:
    _, errors = run("info", status=2, FASHION_MAX_IMAGE_PIXELS="many")
    assert errors.startswith("error: FASHION_MAX_IMAGE_PIXELS=many: Input should be a valid int")


def test_settings_of_the_service_hold(boots: Path) -> None:
    large = boots / "large.png"
    large.write_bytes(encode(np.zeros((40, 40), np.uint8)))
    _, errors = run("classify", large, status=1, FASHION_MAX_IMAGE_PIXELS="1000")
    assert "the image has 40 x 40 = 1,600 pixels, 1,000 are the limit" in errors


def test_options_go_before_settings(tmp_path: Path) -> None:
    model = write_model(tmp_path / "other.onnx", version="9.9.9")
    output, _ = run("info", "--model", model, "--device", "cpu", FASHION_DEVICE="nonsense")
    assert "fashion_lenet 9.9.9" in output
    output, _ = run("info", FASHION_MODEL=str(model))
    assert "fashion_lenet 9.9.9" in output


def test_a_model_that_cannot_be_served_is_told(tmp_path: Path) -> None:
    _, errors = run("info", "--model", "/missing.onnx", status=1)
    assert errors.startswith("error: cannot read the model /missing.onnx: No such file")
    wrong = with_wrong_golden_samples(tmp_path / "wrong.onnx")
    _, errors = run("classify", SAMPLES, "--model", wrong, status=1)
    assert errors.startswith("error: the model's golden samples come out wrong")


@no_gpu
def test_cuda_without_a_gpu_is_refused() -> None:
    _, errors = run("info", "--device", "cuda", status=1)
    assert errors.startswith("error: FASHION_DEVICE is cuda, but ")


def test_info_shows_the_model_the_device_and_the_versions() -> None:
    output, errors = run("info")
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in output.splitlines())
    provenance = json.loads(metadata()["provenance"])
    assert facts["model"] == f"fashion_lenet {metadata()['version']}"
    assert facts["path"] == str(RELEASED_MODEL)
    assert facts["sha256"] == hashlib.sha256(RELEASED_MODEL.read_bytes()).hexdigest()
    assert facts["labels"].startswith("T-shirt/top, Trouser, ")
    assert facts["test_accuracy"] == provenance["test_accuracy"]
    assert facts["recipe"] == provenance["recipe"]
    assert facts["device"] == "cpu (CPUExecutionProvider)"
    for package in ("bentoml", "numpy", "pillow"):
        assert facts[package] == version(package)
    assert facts["python"] == sys.version.split()[0]
    assert "onnxruntime" in facts
    assert errors == ""


@pytest.mark.parametrize(("provenance", "shown"), [(None, ""), ("x", "provenance   x\n")])
def test_info_shows_a_model_whose_provenance_is_missing_or_strange(
    provenance: str | None, shown: str, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model.onnx", provenance=provenance)
    output, _ = run("info", "--model", model)
    assert shown in output
    assert "recipe" not in output


def test_info_shows_all_models(models_folder: Path) -> None:
    settings = {"FASHION_MODELS": str(models_folder), "FASHION_DEFAULT_MODEL": "first"}
    output, errors = run("info", status=1, **settings)
    shown = re.findall(r"^model  +(.*)$", output, re.MULTILINE)
    assert shown == ["first 1.0.0", "colour 1.0.0", "second 2", "second 10"]
    assert re.fullmatch(r"error: \S+/broken/model.onnx: .* golden samples .*\n", errors)


def test_a_model_is_named(models_folder: Path, boots: Path, tmp_path: Path) -> None:
    settings = {"FASHION_MODELS": str(models_folder), "FASHION_DEFAULT_MODEL": "first"}
    chosen = ("classify", boots / "a.png", "--model", "second")
    output, _ = run(*chosen, "--json", **settings)
    rows = tmp_path / "rows.jsonl"
    run(*chosen, "--out", rows, **settings)
    for text in (output, rows.read_text()):
        answer = json.loads(text)
        assert (answer["label"], answer["model"]) == (
            OTHER_LABELS[9],
            {"name": "second", "version": "10"},
        )
    _, errors = run(*chosen[:-1], "third", status=1, **settings)
    assert "third: No such file, nor a model of" in errors


def test_it_starts_without_bentoml_torch_or_the_other_rooms() -> None:
    code = (
        "import sys; from service.cli.main import main; main(sys.argv[1:]); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "classify", SAMPLES],
        cwd=ROOT,
        env=program_environment({}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"service", "onnxruntime", "rich"} <= loaded
    assert not loaded & {"bentoml", "torch", "onnx", "training", "export", "matplotlib"}
