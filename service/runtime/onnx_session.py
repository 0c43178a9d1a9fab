"""ONNX Runtime sessions, on the GPU or on the CPU."""

import ctypes
import logging
import sys
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import DeviceError, ModelError
from service.settings import Device

logger = logging.getLogger("bentoml.fashion_lenet")

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CUDA_OPTIONS = {
    "use_tf32": "0",  # TF32 keeps 10 bits of a convolution's inputs: an error of 1e-3, not 1e-5
    "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search, for every batch size, is slow
}
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def create_session(model: bytes, device: Device, threads: int = 1) -> ort.InferenceSession:
    """Return a session on the requested device; with `auto`, on CUDA if it is available.

    On the CPU a run uses so many threads.

    ONNX Runtime lists the CUDA execution provider also on machines without a GPU, and falls back
    to the CPU by itself. So only the session shows which device it uses.

    Raises:
        DeviceError: `cuda` was requested and the session did not get it.
        ModelError: the bytes are not an ONNX model.
    """
    if device == "cpu":
        return _open(model, [CPU], threads)
    reason = missing_part()
    if reason is None:
        ort.preload_dlls()  # finds CUDA and cuDNN in the cuda extra's wheels
        session = _open(model, [(CUDA, CUDA_OPTIONS), CPU], threads)
        if session.get_providers()[0] == CUDA:
            return session
        reason = "ONNX Runtime could not start its CUDA execution provider (its log says why)"
    if device == "cuda":
        raise DeviceError(
            f"FASHION_DEVICE is cuda, but {reason}: install NVIDIA's driver and the cuda extra "
            "(in a container, --gpus all), or set FASHION_DEVICE to cpu or auto"
        )
    logger.warning("Serving on the CPU, because %s.", reason)
    return _open(model, [CPU], threads)


def run_with_io_binding(
    session: ort.InferenceSession,
    name: str,
    batch: NDArray[np.uint8],
    outputs: Sequence[str],
    options: ort.RunOptions | None = None,
) -> list[NDArray[np.float32]]:
    """Return the outputs for a batch; input and outputs stay on the device until all are computed.

    The batch is padded to a size of `bucket_sizes`, because for each new size CUDA searches for a
    way to compute the convolutions.

    Args:
        session: on CUDA, or on the CPU.
        name: of the one input.
        batch: (N, ...).
        outputs: names of the outputs, (N, ...) each, in the order to return them.
        options: of ONNX Runtime.
    """
    device = "cuda" if session.get_providers()[0] == CUDA else "cpu"
    binding = session.io_binding()
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(_padded(batch), device))
    for output in outputs:
        binding.bind_output(output, device)
    session.run_with_iobinding(binding, options)
    return [array[: len(batch)] for array in binding.copy_outputs_to_cpu()]


def bucket_sizes(most: int) -> list[int]:
    """Return the batch sizes that are run for up to so many images: 1, 2, 4 and so on."""
    return [2**power for power in range((most - 1).bit_length() + 1)]


def missing_part() -> str | None:
    """Return what CUDA lacks here; None if nothing is missing."""
    if CUDA not in ort.get_available_providers():
        return "this build of ONNX Runtime has no CUDA execution provider"
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return f"there is no NVIDIA driver ({DRIVER})"
    return None


def _padded(batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    missing = bucket_sizes(len(batch))[-1] - len(batch)
    if missing == 0:
        return batch
    return np.pad(batch, [(0, missing), *[(0, 0)] * (batch.ndim - 1)])


def _open(
    model: bytes, providers: list[str | tuple[str, dict[str, str]]], threads: int
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise ModelError(
            f"the model is not an ONNX model that can be run here: {one_line(error)}"
        ) from error


def one_line(error: Exception) -> str:
    """Return an error's message as one line of a log; ONNX Runtime's can have several lines."""
    return " ".join(str(error).split())
