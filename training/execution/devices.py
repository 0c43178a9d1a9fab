"""Choose the device for training, and set up its arithmetic."""

import torch

from training.errors import RunError


def choose_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA if available), "cpu" or "cuda".

    Raises:
        RunError: "cuda" was requested, but torch does not find it.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise RunError(
            "torch finds no CUDA device: check the driver with nvidia-smi, or take --device cpu"
        )
    return torch.device("cuda" if name != "cpu" and has_cuda else "cpu")


def set_up(threads: int | None) -> None:
    """Make runs repeatable on this machine, with this number of threads (None: torch's default)."""
    if threads is not None:
        torch.set_num_threads(threads)
    # Otherwise cuDNN chooses convolutions by timing, and two runs may choose different ones.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # Use full float32: by default cuDNN rounds the factors to 10 bits.
    torch.backends.cudnn.allow_tf32 = False


def synchronize(device: torch.device) -> None:
    """Wait for all work queued on the device, so that time measurements are correct."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
