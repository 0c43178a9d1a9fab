"""Streams that are closed or full: at most one line, and a status; as a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.cli.program import SAMPLES, SECONDS, program_environment
from tests.serving import ROOT

COAT = f"{SAMPLES}/coat.png"
NO_SPACE = "error: standard output: No space left on device\n"


def run(command: str, folder: Path = ROOT, unbuffered: str = "") -> tuple[int, str, str]:
    """Run `classify` or `info` in a shell; return its status, output and errors."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m service {command}"],  # noqa: S607
        cwd=folder,
        env={**program_environment({}), "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_standard_input_that_is_closed_is_one_fault() -> None:
    status, output, errors = run(f"classify --csv - {COAT} <&-")
    assert status == 1
    assert output.splitlines()[1].startswith(f"{COAT},Coat,")
    assert errors == (
        "error: -: standard input is closed\nerror: 1 of 2 pictures could not be classified\n"
    )


def test_standard_input_without_end_is_one_fault() -> None:
    status, output, errors = run(f"classify --csv - {COAT} < /dev/zero")
    assert status == 1
    assert output.splitlines()[1].startswith(f"{COAT},Coat,")
    assert errors.startswith("error: -: the file has more than 104,857,600 bytes, a picture may")


@pytest.mark.parametrize("command", [f"classify {COAT}", f"classify --json {COAT}", "info"])
def test_standard_output_that_is_closed_is_told(command: str) -> None:
    assert run(f"{command} >&-") == (1, "", "error: standard output is closed\n")


@pytest.mark.parametrize(
    "command", [f"classify {COAT}", f"classify --json {COAT}", "info", "--help", "classify --help"]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_is_full_is_told(command: str, unbuffered: str) -> None:
    assert run(f"{command} > /dev/full", unbuffered=unbuffered) == (1, "", NO_SPACE)


def test_rows_are_written_whatever_standard_output_is(tmp_path: Path) -> None:
    (tmp_path / "coat.png").write_bytes((ROOT / COAT).read_bytes())
    for n, (stream, error) in enumerate(
        [("> /dev/full", NO_SPACE), (">&-", "error: standard output is closed\n")]
    ):
        command = f"classify coat.png --processes 1 --out {n}.jsonl {stream}"
        assert run(command, tmp_path) == (1, "", error)
        assert (tmp_path / f"{n}.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("stream", ["2>&-", "2> /dev/full", "<&- 2>&-", "<&- >&- 2>&-"])
def test_standard_error_that_cannot_be_written_changes_nothing_else(
    stream: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "coat.png").write_bytes((ROOT / COAT).read_bytes())
    status, output, errors = run(f"classify --csv bad.png coat.png {stream}", tmp_path)
    assert (status, errors) == (1, "")
    if ">&- 2>&-" not in stream:
        assert [line.split(",")[0] for line in output.splitlines()] == ["file", "coat.png"]
    out = f"classify bad.png coat.png --processes 1 --out x.jsonl {stream}"
    assert run(out, tmp_path)[0] == 1
    assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == 2
    assert run(f"classify --mode wrong x {stream}", tmp_path)[0] == 2


def test_a_name_that_is_no_unicode_is_told_on_standard_output(tmp_path: Path) -> None:
    (tmp_path / "coat.png").write_bytes((ROOT / COAT).read_bytes())
    status, output, errors = run("classify coat.png --out $'\\xff.jsonl'", tmp_path)
    assert (status, output, errors) == (0, "1 rows written to \\udcff.jsonl\n", "")
