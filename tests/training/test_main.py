"""The command line's messages and exit status for wrong usage."""

from pathlib import Path

import pytest

from tests.training import program
from training.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "sede"], "--recipe sede: there is no such recipe: choose one of seed,"),
        (["--epochs", "0"], "--epochs 0: input should be greater than or equal to 1"),
        (["--seed", "x"], "--seed x: input should be a valid integer"),
        (["--device", "tpu"], "--device tpu: input should be 'auto', 'cpu' or 'cuda'"),
        (["--labels", "x"], "--labels names the classes of a data set: give its --data as well"),
        (["--teacher", "[a"], 'for teacher: Missing end delimiter "]": put a name with a comma,'),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["report"], "the following arguments are required: RUN"),
    ],
)
def test_wrong_usage_is_told_and_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_all_wrong_options_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--epochs", "0", "--threads", "0"])
    assert capsys.readouterr().err.count("error: --") == 2


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--help"], ["--recipe", "--resume", "--data", "report RUN"]),
        (["report", "--help"], ["RUN", "--out", "--data"]),
        (["data", "--help"], ["--offline"]),
    ],
)
def test_help_names_the_options(
    arguments: list[str], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in options)


def test_environment_variables_named_like_options_change_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECIPE", "none such")
    monkeypatch.setenv("RUN", "elsewhere")
    with pytest.raises(SystemExit) as caught:
        main(["--epochs", "0"])
    assert caught.value.code == 2
    assert "none such" not in capsys.readouterr().err


def test_failures_are_one_line_and_exit_with_1(tmp_path: Path) -> None:
    status, output, errors = program.run("--data", tmp_path, "--out", tmp_path / "run")
    assert status == 1
    assert output == ""
    assert errors == (
        f"error: {tmp_path} holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz: "
        "name the folder that has all four files\n"
    )


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "run"
    assert main(["--out", str(out), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"error: cannot write into the folder {out}: {tmp_path / 'file'} is not a folder; choose "
        "another --out\n"
    )


def test_data_says_where_the_data_set_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASHION_MNIST_DIR", str(tmp_path))
    assert main(["data", "--offline"]) == 1
    assert f"error: {tmp_path} holds neither" in capsys.readouterr().err


def test_an_impatient_ctrl_c_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.run.train", interrupted)
    assert main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
