"""torch.compile where it pays, and plain execution where it cannot be had."""

import logging
import warnings
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

import torch
from torch._dynamo.exc import TorchDynamoException

Choice = Literal["auto", "on", "off"]
P = ParamSpec("P")
R = TypeVar("R")

# Compiling takes 10 to 30 s, and an image then some 40 us less: even at 500,000 images.
WORTH_COMPILING = 500_000


def should_compile(choice: Choice, images_to_train: int) -> bool:
    """Decide for "auto" by the length of the run."""
    return choice == "on" or (choice == "auto" and images_to_train >= WORTH_COMPILING)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function compiled at its first call; where that fails, as it is, with a warning.

    The usual reason to fail is a machine without a C++ compiler.
    """
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
