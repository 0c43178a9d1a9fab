"""When compilation pays off, and that a missing compiler is no error.

What takes a second to import is imported by the test that needs it, not by all that collect.
"""

import os
from pathlib import Path

import pytest
import torch

from tests.training import program
from training.execution.compilation import (
    CACHE_VARIABLE,
    Choice,
    cache_folder,
    compiled,
    should_compile,
)


@pytest.mark.parametrize(
    ("choice", "images", "device", "expected"),
    [
        ("on", 1, "cpu", True),
        ("off", 10**9, "cpu", False),
        ("auto", 600_000, "cpu", False),  # ten epochs of the notebook's recipe
        ("auto", 1_399_999, "cpu", False),
        ("auto", 1_400_000, "cpu", True),
        ("auto", 4_200_000, "cpu", True),  # recipe `release`
        ("auto", 4_200_000, "cuda", False),
        ("on", 1, "cuda", True),
    ],
)
def test_auto_goes_by_the_length_of_the_run(
    choice: Choice, images: int, device: str, expected: bool
) -> None:
    assert should_compile(choice, images, device) is expected


@pytest.mark.parametrize("cuda", [False, True])
def test_on_cuda_no_order_of_sums_is_chosen_by_timing(
    cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    with config.patch(deterministic=False):
        compiled(abs)
        assert config.deterministic is cuda


@pytest.fixture
def _not_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "")  # so that it is put back afterwards
    monkeypatch.delenv(CACHE_VARIABLE)


@pytest.mark.usefixtures("_not_told_where")
def test_what_is_compiled_is_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from torch._inductor import config
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    compiled(abs)
    assert os.environ[CACHE_VARIABLE] == str(tmp_path / "fashion-lenet-bn" / "torch")
    assert cache_dir() == os.environ[CACHE_VARIABLE]  # torch's own reading of it
    assert config.fx_graph_cache  # and it reads it again in the next process


@pytest.mark.parametrize("base", ["", "relative/path", None])
def test_without_an_absolute_xdg_cache_home_it_is_below_the_home(
    base: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if base is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert cache_folder() == tmp_path / ".cache" / "fashion-lenet-bn" / "torch"


def test_who_names_another_cache_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled(abs)
    assert os.environ[CACHE_VARIABLE] == str(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("_not_told_where")
def test_a_cache_that_cannot_be_made_is_torchs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled(abs)
    assert str(tmp_path) not in os.environ.get(CACHE_VARIABLE, "")


def test_a_failing_compiler_is_a_warning_and_plain_execution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

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
    """Without a compiler on the PATH, and without a cache of earlier compilations."""
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
