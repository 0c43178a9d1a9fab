"""The Mahalanobis distance of an image from the training set, in the first batch norm's features.

The definition is in `export.metadata.input_statistics`, the mathematics in docs/watchman.md.

During a request, whose code and data fill the caches, each NumPy call costs 1 to 3 us, more than
its arithmetic. So everything linear in the pixels, whitening included, is one matrix product.
Squares are computed at adjacent patches only: five rows of an image are five patches, in the
order in which they are in memory.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

METADATA_KEY = "input_statistics"  # of a model's metadata

SIDE, KERNEL = 28, 5
IMAGE_SHAPE = (1, SIDE, SIDE)  # of the only images that the statistics are defined for
OUT = SIDE - KERNEL + 1  # of the convolution
PER_SIDE, FIRST = 5, 1  # patches, and the row and column of the first
BAND, START = KERNEL * SIDE, FIRST * SIDE  # pixels of five rows, and those before the first five

WIDEST = 2**16  # images in a window

# With more images at a time OpenBLAS would start threads, and the event loop would wait for them.
IMAGES_AT_ONCE = 12
SQUARED_DISTANCE_OUTPUT = "squared_shift"  # an output (N, 1), beside the network's own

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class InputStatistics:
    """The statistics of `export.metadata.input_statistics.InputStatistics`, computed fast."""

    weight: NDArray[np.float64]  # (C, 5, 5), for pixels from 0 to 255
    bias: NDArray[np.float64]  # (C,)
    border: int  # positions
    floor: float
    mean: NDArray[np.float64]  # m (3C,)
    whitening: NDArray[np.float64]  # L (3C, 3C), scaled: an image's shift |(f - m) L| has limit 1
    brightness: tuple[float, float]
    window: int
    drift_limit: float  # of |(mean of f over the window - m) L|

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the `input_statistics` of a model's metadata.

        Raises:
            ValueError, KeyError, TypeError: it is not such JSON, or its arrays do not fit together.
        """
        content = json.loads(text)
        bias = np.array(content["bias"], np.float64)  # (C,)
        C = len(bias)
        limit = _positive(content, "shift_limit")
        low, high = _array(content, "brightness", (2,)).tolist()
        return cls(
            weight=_array(content, "weight", (C, 1, KERNEL, KERNEL))[:, 0] / 255,
            bias=bias,
            border=int(_positive(content, "border", (OUT - 1) // 2)),
            floor=_positive(content, "floor"),
            mean=_array(content, "mean", (3 * C,)),
            whitening=_array(content, "whitening", (3 * C, 3 * C)) / limit,
            brightness=(low, high),
            window=int(_positive(content, "window", WIDEST)),
            drift_limit=_positive(content, "drift_limit") / limit,
        )

    def whitened(self, images: NDArray[np.uint8], at_once: int = IMAGES_AT_ONCE) -> Floats:
        """Return (f - m) L, (N, 3C), of images (N, 1, 28, 28); a row's length is the distance."""
        if len(images) <= at_once:
            return self._whitened(images)
        starts = range(0, len(images), at_once)
        return np.concatenate([self._whitened(images[i : i + at_once]) for i in starts])  # (N, 3C)

    def mahalanobis_distances(
        self, images: NDArray[np.uint8], at_once: int = IMAGES_AT_ONCE
    ) -> Floats:
        """Return the distances (N,) of images (N, 1, 28, 28), in units of the limit."""
        found: Floats = np.sqrt(squared_norms(self.whitened(images, at_once)))
        return found

    def channel_means(self, whitened: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the channels' means (C,) over all positions, of (f - m) L (3C,)."""
        f = self.mean + np.linalg.solve(self.whitening.T, whitened)  # (3C,)
        return self._over_all_positions(f)

    @property
    def expected_means(self) -> NDArray[np.float64]:
        """The channels' means (C,) over the training set."""
        return self._over_all_positions(self.mean)

    def _over_all_positions(self, f: NDArray[np.float64]) -> NDArray[np.float64]:
        C = len(self.bias)
        inside = (OUT - 2 * self.border) ** 2 / OUT**2  # the share of positions
        means: NDArray[np.float64] = (1 - inside) * f[:C] + inside * f[C : 2 * C] + self.bias
        return means  # (C,)

    def _whitened(self, images: NDArray[np.uint8]) -> Floats:
        linear, patches, average, whitening, constant = self._matrices
        x = images.reshape(-1, SIDE * SIDE).astype(np.float32)  # (N, 784)
        bands = x[:, START : START + PER_SIDE * BAND].reshape(-1, BAND)  # (5N, 140)
        y = bands.dot(patches)  # (5N, 5C)
        np.multiply(y, y, out=y)
        square = y.reshape(len(x), -1).dot(average)  # (N, C)
        square += self._floor
        np.log(square, out=square)
        z: Floats = x.dot(linear)  # (N, 3C)
        z += square.dot(whitening)
        z += constant
        return z

    @cached_property
    def _floor(self) -> np.float32:
        return np.float32(self.floor)

    @cached_property
    def _matrices(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return the matrices, each in the memory order that is fastest for BLAS.

        Returns:
            (784, 3C): pixels to means near the edge and inside, and through L to their part of z;
            (140, 5C): five rows of pixels to the five patches in them;
            (25C, C): squares at all patches to their means;
            (C, 3C): their logarithms, through L to their part of z;
            (3C,): the constant part of z, -m L.
        """
        C = len(self.bias)
        near = np.ones((OUT, OUT), bool)
        near[self.border : -self.border, self.border : -self.border] = False
        means = np.concatenate([self._mean_over(near), self._mean_over(~near)], axis=1)
        linear = means @ self.whitening[: 2 * C]  # (784, 3C)
        patches = np.zeros((KERNEL, SIDE, PER_SIDE, C))
        for patch in range(PER_SIDE):
            column = FIRST + patch * KERNEL
            patches[:, column : column + KERNEL, patch] = self.weight.transpose(1, 2, 0)
        average = np.tile(np.eye(C) / PER_SIDE**2, (PER_SIDE**2, 1))  # (25C, C)
        return (
            np.asfortranarray(linear, np.float32),
            patches.reshape(BAND, PER_SIDE * C).astype(np.float32),
            np.asfortranarray(average, np.float32),
            np.asfortranarray(self.whitening[2 * C :], np.float32),
            (-self.mean @ self.whitening).astype(np.float32),
        )

    def _mean_over(self, at: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the matrix (784, C) from pixels to the channels' means over some positions."""
        C = len(self.bias)
        matrix = np.zeros((SIDE, SIDE, C))
        for row, column in zip(*np.nonzero(at), strict=True):
            window = slice(row, row + KERNEL), slice(column, column + KERNEL)
            matrix[window] += self.weight.transpose(1, 2, 0)
        found: NDArray[np.float64] = matrix.reshape(SIDE * SIDE, C) / at.sum()
        return found


def squared_norms(whitened: Floats) -> Floats:
    """Return the squared lengths (N,) of vectors (N, F)."""
    found: Floats = np.vecdot(whitened, whitened)
    return found


def _array(content: dict[str, Any], key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.array(content[key], np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(
            f"its {key}: expected finite numbers of shape {shape}, got shape {array.shape}"
        )
    return array


def _positive(content: dict[str, Any], key: str, most: float = np.inf) -> float:
    value = float(content[key])
    if not 0 < value < np.inf:
        raise ValueError(f"its {key}: expected a positive finite number, got {value:g}")
    if value > most:
        raise ValueError(f"its {key}: expected at most {most:g}, got {value:g}")
    return value
