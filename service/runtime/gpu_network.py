"""A network on a GPU: a few batch sizes, and a session for each.

The CUDA provider's convolution keeps one cuDNN plan, that of the last shape, and plans anew for any
other (https://github.com/microsoft/onnxruntime/issues/23006). Batches that form by themselves
change their size at nearly every run. So each is padded to one of a few sizes, and each size has a
session, whose shapes never change.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.runtime.cuda import cuda_session
from service.runtime.signature import INPUT

SMALLEST, FACTOR = 4, 4  # the CPU is faster for fewer images; sizes further apart pad more

Open = Callable[[bytes], ort.InferenceSession]


class GpuNetwork:
    """Sessions of one network, by their batch size."""

    def __init__(self, sessions: Mapping[int, ort.InferenceSession]) -> None:
        """Take a session for each batch size."""
        self._sessions = dict(sorted(sessions.items()))
        self.sizes = tuple(self._sessions)

    @classmethod
    def open(cls, model: bytes, max_batch: int, open_session: Open = cuda_session) -> Self:
        """Open the sessions for batches of up to so many images.

        Raises:
            DeviceError: a session did not get the GPU, or not for all nodes.
        """
        return cls({size: open_session(model) for size in batch_sizes(max_batch)})

    def close(self) -> None:
        """Free the memory of the sessions."""
        self._sessions.clear()

    def infer(
        self,
        images: NDArray[np.uint8],
        outputs: Sequence[str],
        options: ort.RunOptions | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the named outputs, each (N, K), for images (N, C, H, W), in the given order.

        More images than the largest size run in several batches.
        """
        largest = self.sizes[-1]
        runs = [
            self._run(images[start : start + largest], outputs, options)
            for start in range(0, len(images), largest)
        ]
        if len(runs) == 1:
            return runs[0]
        return [np.concatenate(arrays) for arrays in zip(*runs, strict=True)]  # (N, K) each

    def _run(
        self, images: NDArray[np.uint8], outputs: Sequence[str], options: ort.RunOptions | None
    ) -> list[NDArray[np.float32]]:
        """Run at most as many images as the largest size, padded with black ones."""
        size = next(size for size in self.sizes if size >= len(images))
        batch = images
        if len(images) < size:
            batch = np.zeros((size, *images.shape[1:]), np.uint8)  # (size, C, H, W)
            batch[: len(images)] = images
        arrays = self._sessions[size].run(list(outputs), {INPUT: batch}, options)
        return [array[: len(images)] for array in arrays]  # (N, K) each


def batch_sizes(most: int) -> list[int]:
    """Return the sizes for batches of up to so many images: 4, 16, 64 and so on, and that last."""
    sizes = []
    size = SMALLEST
    while size < most:
        sizes.append(size)
        size *= FACTOR
    return [*sizes, most]
