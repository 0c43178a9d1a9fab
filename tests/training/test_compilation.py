"""Compiling is worth it or not, and its absence is no failure."""

from pathlib import Path

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from tests.training import program
from training.compilation import compiled, should_compile


@pytest.mark.parametrize(
    ("choice", "images", "expected"),
    [
        ("on", 1, True),
        ("off", 10**9, False),
        ("auto", 60_000, False),
        ("auto", 600_000, True),
    ],
)
def test_auto_goes_by_the_length_of_the_run(choice, images: int, expected: bool) -> None:  # type: ignore[no-untyped-def]
    assert should_compile(choice, images) is expected


def test_a_failing_compiler_is_a_warning_and_plain_execution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(function: object, **_: object) -> object:
        def fail(*_: object) -> None:
            raise BackendCompilerFailed(compiler, RuntimeError("no g++"), None)

        def compiler() -> None: ...

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    double = compiled(lambda x: 2 * x)
    with pytest.warns(UserWarning, match=r"training without torch\.compile, slower: .*no g\+\+"):
        assert double(3) == 6
    assert double(4) == 8  # and no second warning


def test_errors_of_the_function_itself_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        compiled(fail)()


def test_a_machine_without_a_compiler_trains(tmp_path: Path, small: Path) -> None:
    """The real thing: no compiler on the PATH, and no cache of earlier compilations."""
    environment = program.ENVIRONMENT | {
        "PATH": str(tmp_path),
        "CXX": "",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    arguments = ("--epochs", 1, "--compile", "on", "--out", tmp_path / "run")
    data = ("--data", small, "--labels", small / "labels.txt")
    status, _, errors = program.run(*arguments, *data, environment=environment)
    assert status == 0, errors
    assert "training without torch.compile, slower" in errors
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
