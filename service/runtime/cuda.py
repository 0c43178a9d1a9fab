"""ONNX Runtime sessions that run on an NVIDIA GPU, whole or not at all.

ONNX Runtime lists its CUDA execution provider on machines without a GPU too. If the provider
cannot start, or cannot compute a node, the CPU computes instead, and only the log says so. A
session of this module fails instead.
"""

import ctypes
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import onnxruntime as ort

from service.errors import DeviceError
from service.runtime.onnx_session import CPU, one_line, session_options

CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "use_tf32": "0",  # TF32 keeps 10 bits of a convolution's inputs: an error of 1e-3, not 1e-5
    "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search, for every batch size, is slow
    "arena_extend_strategy": "kSameAsRequested",  # a session has one batch size: no need to double
}
SHOWN = 5  # nodes that an error names
STRICT = {"session.disable_cpu_ep_fallback": "1"}
RECORDED = {"session.record_ep_graph_assignment_info": "1"}

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
PROVIDER = (
    Path(ort.__file__).parent
    / "capi"
    / (
        "onnxruntime_providers_cuda.dll"
        if sys.platform == "win32"
        else "libonnxruntime_providers_cuda.so"
    )
)
OLDEST_DRIVERS = {"12": "525", "13": "580"}  # by CUDA's major version, on Linux


def missing_part() -> str | None:
    """Return what CUDA lacks here, with the remedy; None if nothing is missing.

    It starts nothing on the GPU.
    """
    if CUDA not in ort.get_available_providers():
        return (
            "this build of ONNX Runtime has no CUDA execution provider: install "
            "requirements/cuda.lock"
        )
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return (
            f"there is no NVIDIA driver ({DRIVER}): install it; a container needs --gpus all with "
            "Docker, --device nvidia.com/gpu=all with Podman"
        )
    return _too_old(driver)


def cuda_session(model: bytes) -> ort.InferenceSession:
    """Return a session in which the GPU computes every node.

    Args:
        model: a model that ONNX Runtime can open.

    Raises:
        DeviceError: the session did not get the GPU, or not for all nodes.
    """
    if reason := missing_part():
        raise DeviceError(reason)
    load_libraries()
    providers = [(CUDA, CUDA_OPTIONS)]
    try:
        # The CPU provider must not be named here: that contradicts STRICT. Unless told otherwise,
        # Python's InferenceSession opens a failed session once more, on the CPU.
        return ort.InferenceSession(
            model, session_options(STRICT), providers=providers, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise DeviceError(_why_not_strict(model, error)) from error


def load_libraries() -> None:
    """Load CUDA and cuDNN, from the wheels of the extra `cuda` if they are installed."""
    # For cuBLAS and cuDNN, before they are loaded: no TF32, whatever plan a convolution gets.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    with redirect_stdout(sys.stderr):  # it prints what is missing where results may be written
        ort.preload_dlls()


def placement(model: bytes) -> dict[str, list[str]]:
    """Return which nodes each execution provider gets, as `Conv conv_0`, if the CPU may take some.

    Raises:
        Exception: ONNX Runtime's, if even that session cannot be opened.
    """
    session = ort.InferenceSession(
        model, session_options(RECORDED), providers=[(CUDA, CUDA_OPTIONS), CPU], enable_fallback=0
    )
    nodes: dict[str, list[str]] = {provider: [] for provider in session.get_providers()}
    for subgraph in session.get_provider_graph_assignment_info():
        nodes[subgraph.ep_name] += [
            f"{node.op_type} {node.name}".rstrip() for node in subgraph.get_nodes()
        ]
    return nodes


def _too_old(driver: ctypes.CDLL) -> str | None:
    """Return what is wrong with the driver's version, of which CUDA's libraries need their own."""
    needed = str(ort.cuda_version).partition(".")[0]
    version = ctypes.c_int()
    try:
        status = driver.cuDriverGetVersion(ctypes.byref(version))  # 12020 for CUDA 12.2
    except AttributeError:
        status = None
    if status != 0:
        said = "has no cuDriverGetVersion" if status is None else f"answers with error {status}"
        return f"the NVIDIA driver {said} ({DRIVER}): install driver {_oldest(needed)}"
    major, minor = divmod(version.value, 1000)
    if major >= int(needed):
        return None
    return (
        f"the NVIDIA driver is for CUDA {major}.{minor // 10}, ONNX Runtime {ort.__version__} "
        f"needs CUDA {needed}: install driver {_oldest(needed)}"
    )


def _oldest(cuda: str) -> str:
    return f"{OLDEST_DRIVERS[cuda]} or newer" if cuda in OLDEST_DRIVERS else f"for CUDA {cuda}"


def _why_not_strict(model: bytes, error: Exception) -> str:
    """Return why a strict session cannot be opened, though one that may use the CPU perhaps can."""
    try:
        nodes = placement(model)
    except Exception as again:  # ONNX Runtime's exceptions have no common base class
        return f"ONNX Runtime cannot open the model on CUDA: {one_line(again)}"
    if CUDA not in nodes:
        return _why_not_started()
    if left := nodes.get(CPU):
        shown = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if left[SHOWN:] else "")
        return f"CUDA cannot compute all of the model, and leaves to the CPU: {shown}"
    return f"ONNX Runtime cannot open the model on CUDA: {one_line(error)}"


def _why_not_started() -> str:
    """Return what the provider's library lacks.

    Call it only after ONNX Runtime has tried: a provider that is loaded before has no host.
    """
    try:
        ctypes.CDLL(str(PROVIDER))
    except OSError as error:
        return f"a library is missing ({error}): install requirements/cuda.lock, the extra cuda"
    return "ONNX Runtime could not start its CUDA execution provider (its log says why)"
