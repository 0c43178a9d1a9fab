"""torch.compile where it pays, and plain execution where it cannot be had."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import torch
from torch._dynamo.exc import TorchDynamoException

Choice = Literal["auto", "on", "off"]
P = ParamSpec("P")
R = TypeVar("R")

# From so many images on it repays itself, with nothing in the cache. On the CPU, two threads:
# compiling takes 25 s, and an image then 17 us less (22,900 images a second for 16,400).
WORTH_COMPILING: Mapping[str, int] = {"cpu": 1_400_000, "cuda": 500_000}

# Where torch keeps what it has compiled; its own choice is a folder below /tmp, which a restart
# empties.
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def should_compile(choice: Choice, images_to_train: int, device: str) -> bool:
    """Decide for "auto" by the length of the run; device is "cpu" or "cuda"."""
    return choice == "on" or (choice == "auto" and images_to_train >= WORTH_COMPILING[device])


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function compiled at its first call; where that fails, as it is, with a warning.

    The usual reason to fail is a machine without a C++ compiler.
    """
    _keep_cache()
    # It says at each start on a machine without CUDA that there is no CUDA.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    chosen: Callable[P, R] = torch.compile(function, dynamic=False)
    proven = False

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal chosen, proven
        if proven:
            return chosen(*args, **kwargs)
        try:
            result = chosen(*args, **kwargs)
        except TorchDynamoException as error:
            reason = " ".join(str(error).split("\n")[:2])  # what failed, and how
            warnings.warn(f"training without torch.compile, slower: {reason}", stacklevel=2)
            chosen = function
            result = function(*args, **kwargs)
        proven = True
        return result

    return call


def _keep_cache() -> None:
    """Have torch keep what it compiles in the user's cache, unless it was told where or cannot."""
    folder = cache_folder()
    if CACHE_VARIABLE in os.environ or folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that is read-only: torch's own choice will do
    if os.access(folder, os.W_OK | os.X_OK):
        os.environ[CACHE_VARIABLE] = str(folder)


def cache_folder() -> Path | None:
    """Return the folder in the user's cache, None for a user without a home.

    XDG Base Directory Specification 0.8: `XDG_CACHE_HOME` if it is an absolute path, else
    `~/.cache`.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "fashion-lenet-bn" / "torch"
