"""Use torch.compile if it saves time, and plain execution if it is not available."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import torch

Choice = Literal["auto", "on", "off"]
P = ParamSpec("P")
R = TypeVar("R")

# The number of images from which compiling saves time on the CPU, with an empty cache. With two
# threads, compiling takes 25 s and saves 17 us per image (22,900 images per second, not 16,400).
WORTH_COMPILING = 1_400_000

# The folder of torch's compilation cache; the default is below /tmp, which a restart empties.
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def should_compile(choice: Choice, images_to_train: int, device: str) -> bool:
    """Return whether to compile; "auto" depends on the run's length, and does not on "cuda".

    There nobody has measured what it saves.
    """
    worth = device == "cpu" and images_to_train >= WORTH_COMPILING
    return choice == "on" or (choice == "auto" and worth)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that is compiled at its first call; if that fails, it warns and runs plain.

    The usual reason to fail is a machine without a C++ compiler.
    """
    from torch._dynamo.exc import TorchDynamoException  # the compiler takes seconds to import

    _keep_cache()
    # On a machine without CUDA it warns about that at each start.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    if torch.cuda.is_available():
        from torch._inductor import config  # takes a second

        # Else the order of sums on a GPU is chosen by timing, and so may differ between two runs.
        config.deterministic = True
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
    """Let torch store its cache in the user's cache folder, if writable and no other is set."""
    folder = cache_folder()
    if CACHE_VARIABLE in os.environ or folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # the home is read-only: torch's default is used
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
