"""ONNX Runtime sessions on the device of `verify --device`; on a GPU whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Literal

import onnxruntime as ort

from export.errors import ModelError, one_line

Device = Literal["cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}  # as in the service
ERRORS_ONLY = 3  # ONNX Runtime warns of unused weights, for example, which a proof finds by itself

_device: ContextVar[Device] = ContextVar("device", default="cpu")


@contextmanager
def computed_on(device: Device) -> Iterator[None]:
    """Open the sessions in the block on a device."""
    token = _device.set(device)
    try:
        yield
    finally:
        _device.reset(token)


def open_session(model: bytes | str, level: ort.GraphOptimizationLevel) -> ort.InferenceSession:
    """Return a session for a model's bytes, or the path of its file.

    Raises:
        ModelError: ONNX Runtime cannot load it; or the device is a GPU, and does not compute every
            node.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1  # as in the service
    options.log_severity_level = ERRORS_ONLY
    if _device.get() == "cpu":
        try:
            return ort.InferenceSession(model, options, providers=[CPU])
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            name = model if isinstance(model, str) else "the model"
            raise ModelError(f"ONNX Runtime cannot load {name}: {one_line(error)}") from error
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    with redirect_stdout(sys.stderr):  # it prints what is missing
        ort.preload_dlls()
    # Without both of these ONNX Runtime computes on the CPU what the GPU cannot, and says nothing.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return ort.InferenceSession(
            model, options, providers=[(CUDA, CUDA_OPTIONS)], enable_fallback=0
        )
    except Exception as error:  # as above
        raise ModelError(
            "--device cuda: the GPU cannot compute all of the model (`python -m service info "
            f"--device cuda` says what is missing): {' '.join(str(error).split())}"
        ) from error
