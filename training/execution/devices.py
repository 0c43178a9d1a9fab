"""Where training runs, and how its arithmetic is set up."""

import torch

from training.errors import RunError


def choose_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        RunError: "cuda" was asked for and torch finds none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise RunError(
            "torch finds no CUDA device: check the driver with nvidia-smi, or take --device cpu"
        )
    return torch.device("cuda" if name != "cpu" and has_cuda else "cpu")


def set_up(threads: int | None) -> None:
    """Make runs repeatable on this machine, on so many threads (None: torch's choice)."""
    if threads is not None:
        torch.set_num_threads(threads)
    # Else cuDNN picks convolutions by timing them, and two runs may pick different ones.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # float32 is to mean float32: by default cuDNN rounds what it multiplies to 10 bits.
    torch.backends.cudnn.allow_tf32 = False


def synchronize(device: torch.device) -> None:
    """Wait for all work queued on the device, so that a clock read afterwards is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
