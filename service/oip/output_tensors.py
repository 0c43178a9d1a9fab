"""The output tensors of an inference response, over HTTP or gRPC: the model's, or its best classes.

Source: Triton's extensions "Classification" and "Binary tensor data".
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.inference.results import most_probable
from service.oip.inference_request import RequestedOutput
from service.oip.protocol import OUTPUT_DATATYPE


class OutputTensor(NamedTuple):
    """A tensor of a response; data has its elements in row-major order."""

    datatype: str
    shape: list[int]
    data: NDArray[np.float32] | list[str]

    def raw(self) -> bytes:
        """Return the elements as bytes: floats little-endian, each text after its length."""
        if isinstance(self.data, list):
            return _strings(self.data)
        return self.data.astype("<f4", copy=False).tobytes()


def output_tensor(
    output: RequestedOutput, array: NDArray[np.float32], labels: Sequence[str]
) -> OutputTensor:
    """Return the tensor of a requested output.

    Args:
        output: the output, and whether its best classes are requested instead.
        array: the output, (N, K).
        labels: the names of the K classes.
    """
    if output.classes is None:
        return OutputTensor(OUTPUT_DATATYPE, list(array.shape), array.ravel())  # (N * K,)
    rows = [_best(row, output.classes, labels) for row in array]
    return OutputTensor("BYTES", [len(rows), len(rows[0])], list(chain.from_iterable(rows)))


def _best(values: NDArray[np.float32], count: int, labels: Sequence[str]) -> list[str]:
    """Return the count highest of values (K,), each in Triton's format `value:index:label`."""
    best = most_probable(values, count)
    return [f"{values[index]:f}:{index}:{labels[index]}" for index in best]


def _strings(texts: Sequence[str]) -> bytes:
    """Return each text in UTF-8 after its length, 4 bytes, little-endian."""
    encoded = [text.encode() for text in texts]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
