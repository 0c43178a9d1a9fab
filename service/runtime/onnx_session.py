"""ONNX Runtime sessions on the CPU, and what all sessions have in common."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnxruntime as ort

from service.errors import ModelError

CPU = "CPUExecutionProvider"
CUDA_FAILURE = re.compile(r"CU[A-Z]+ failure \d+: [^;]*[^; ]")  # of CUDA, cuBLAS or cuDNN


def cpu_session(model: bytes, threads: int = 1) -> ort.InferenceSession:
    """Return a session on the CPU, a run of which uses so many threads.

    Raises:
        ModelError: the bytes are not an ONNX model.
    """
    options = session_options(threads=threads)
    with _openable(model) as source:
        try:
            return ort.InferenceSession(source, options, providers=[CPU])
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            if "External data" in str(error):
                raise ModelError(
                    "the model's weights are in files of their own; expected all in the model's "
                    "file, where `python -m export seal` writes them"
                ) from error
            reason = one_line(error).replace(f"Load model from {source!s} failed:", "")
            raise ModelError(
                f"the model is not an ONNX model that can be run here: {reason}"
            ) from error


@contextmanager
def _openable(model: bytes) -> Iterator[bytes | str]:
    """Yield the model as a file in memory, where the system has such and allows one of this size.

    ONNX Runtime holds Python's lock while it parses bytes, but not while it reads a file: of 94 MB
    that would keep the event loop, and the requests of all other models, for 0.2 s.
    """
    descriptor = _file_in_memory(model) if sys.platform == "linux" else None
    if descriptor is None:
        yield model
        return
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _file_in_memory(content: bytes) -> int | None:
    """Return the descriptor of a file with this content, or None where `ulimit -f` forbids it."""
    descriptor = os.memfd_create("model.onnx")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def session_options(
    entries: Mapping[str, str] | None = None, threads: int = 1
) -> ort.SessionOptions:
    """Return the options of every session, with configuration entries of ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    return options


def one_line(error: Exception) -> str:
    """Return an error's message as one line of a log; ONNX Runtime's can have several lines.

    Of an error of CUDA only CUDA's own words: around them are 1,000 characters of C++ types, and
    the machine's name.
    """
    text = " ".join(str(error).split())
    found = CUDA_FAILURE.search(text)
    return found[0] if found else text
