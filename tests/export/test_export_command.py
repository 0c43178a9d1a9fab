"""`python -m export`: what it prints, and its exit status."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from export.__main__ import main
from tests.export.networks import write_checkpoint

ROOT = Path(__file__).parents[2]


def command(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "export", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_success_prints_the_figures_and_exits_0(
    checkpoint: Path, small_test_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "model.onnx"
    done = command(
        *(checkpoint, "--out", out, "--data", small_test_set, "--model-version", "9.8.7")
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("against eval mode, float64")
    assert sum("100 of 100" in line for line in lines) == 6  # five comparisons and the margins
    assert any(line.startswith("folded, default     logits ") for line in lines)
    assert any(line.startswith("smallest margin of a predicted class ") for line in lines)
    assert lines[-1] == f"proved equal; wrote {out}"
    found = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert found["version"] == "9.8.7"


def test_without_a_training_set_a_model_can_do_without_its_statistics(
    checkpoint: Path, small_test_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "model.onnx"
    data.mkdir()
    for path in small_test_set.glob("t10k*"):
        (data / path.name).symlink_to(path)
    arguments = (checkpoint, "--out", out, "--data", data, "--no-input-statistics")
    assert main([*map(str, arguments)]) == 0
    assert capsys.readouterr().err == ""
    assert "input_statistics" not in {p.key for p in onnx.load(out).metadata_props}


def test_a_failed_proof_exits_1_with_one_line_and_no_model(
    network: nn.Sequential,
    small_test_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with torch.no_grad():  # classes that only float64 can tell apart
        network[15].weight[:] = network[15].weight[:1]
        network[15].bias[:] = torch.linspace(0, 1e-9, 10)
    checkpoint = write_checkpoint(tmp_path / "c.safetensors", network)
    out = tmp_path / "out" / "model.onnx"
    assert main([str(checkpoint), "--out", str(out), "--data", str(small_test_set)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: the folded model is not the network it came from")
    assert len(printed.err.splitlines()) == 1
    assert not out.parent.exists()


def test_a_failure_says_why_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    assert main([str(missing), "--out", str(tmp_path / "model.onnx")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {missing} is not a file: name a checkpoint.safetensors\n"
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "the following arguments are required: CHECKPOINT" in capsys.readouterr().err


def test_the_model_cannot_take_the_proofs_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["c.safetensors", "--out", "there/equivalence.json"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: --out there/equivalence.json: equivalence.json is the proof's name beside the "
        "model: choose another for the model\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c", "--out", "./c"], "--out c is also an input: choose another file to write"),
        (["verify", "m", "c", "--json", "m"], "--json m is also an input"),
        (["verify", "m", "c", "--plot", "../{folder}/c"], "is also an input"),
    ],
)
def test_what_is_read_is_not_written(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main([text.format(folder=tmp_path.name) for text in arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["{long}"],
        ["{folder}"],
        ["{text}"],
        ["{text}", "--out", "{text}/model.onnx"],
        ["{text}", "--out", "{long}/model.onnx"],
        ["inspect", "{long}"],
        ["inspect", "{folder}"],
        ["inspect", "{text}"],
        ["verify", "{folder}", "{text}"],
        ["verify", "{text}", "{folder}"],
    ],
    ids=" ".join,
)
def test_a_wrong_path_is_told_in_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, folder = tmp_path / "text", tmp_path / "folder"
    text.write_text("neither a checkpoint\nnor a model\n")
    folder.mkdir()
    names = {"long": tmp_path / ("x" * 300), "folder": folder, "text": text}
    out = [] if "--out" in arguments or len(arguments) > 1 else ["--out", str(tmp_path / "m")]
    assert main([argument.format(**names) for argument in [*arguments, *out]]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"text", "folder"}


def test_a_full_or_closed_output_is_told_in_one_line(
    folded_model: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(folded_model.SerializeToString())
    inspect = f"{sys.executable} -m export inspect {path}"
    for shell, status, error in (
        (f"{inspect} >/dev/full", 1, "error: cannot write to standard output: No space left"),
        (f"{inspect} >&-", 0, ""),
        (f"set -o pipefail; {inspect} | true", 141, ""),
    ):
        done = subprocess.run(
            ["bash", "-c", shell],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == status, shell
        assert done.stderr.startswith(error), shell
        assert done.stderr.count("\n") == bool(error), shell


def test_a_version_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["c.safetensors", "--model-version", "latest"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: --model-version latest: 'latest' is not a semantic version"
    )


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["c.safetensors", "--colour", "red"])
    assert caught.value.code == 2
    assert "--colour" in capsys.readouterr().err


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in (
        *("python -m export", "--out", "--data", "--model-version"),
        "--no-input-statistics",
    ):
        assert option in text
    for program in ("verify MODEL CHECKPOINT", "seal MODEL WEIGHTS", "inspect MODEL"):
        assert f"`python -m export {program}`" in " ".join(text.split())


def test_the_environment_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = tmp_path / "stray"
    monkeypatch.setenv("OUT", str(stray / "model.onnx"))
    monkeypatch.chdir(tmp_path)
    assert main(["missing.safetensors"]) == 1
    assert not stray.exists()
    assert "missing.safetensors is not a file" in capsys.readouterr().err


def test_inspect_shows_a_model(
    folded_model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(folded_model.SerializeToString())
    assert main(["inspect", str(path)]) == 0
    assert "conv_0" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "missing.onnx")]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read the model ")
