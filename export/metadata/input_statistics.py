"""Statistics of the first batch norm's input, stored in the model for the service's drift check.

A batch norm's moving statistics are averages over images. With y (C, 24, 24) the convolution of an
image in [0, 1] without its bias b, moving_mean is the average of y's mean, plus b, and moving_var
is the average of y's mean square, minus (moving_mean - b)^2. This module measures how both vary
over the training set, so that one image can be compared with them. The statistics of an image are,
for each channel,

    the mean of y within BORDER positions of an edge,
    the mean of y inside,
    log(s + FLOOR), where s is y's mean square over PATCHES.

PATCHES are every fifth position in both directions: their receptive fields tile the image, so that
the service computes them without overlap. The two means, weighted by their numbers of positions,
give the image's mean. With f (3C,) these statistics, m their mean and S their covariance over the
training set, an image has the Mahalanobis distance sqrt((f - m)^T S^-1 (f - m)) = |(f - m) L|
with L L^T = S^-1.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.errors import ExportError
from training.batch_norm import BatchNorm
from training.evaluation import BATCH

KEY = "input_statistics"  # in a model's metadata

BORDER = 2
PATCHES = slice(1, None, 5)  # 1, 6, ..., 21 of 24
FLOOR = 1e-3  # for a black image everything is 0

FALSE_ALARMS = 0.01  # share of images
WINDOW = 256  # images whose mean shows whether the stream has changed
STREAM = 10_000
STREAMS = 200

DIGITS = 9  # enough for float32, and few enough to hide the order of summation
TOLERANCE = 1e-6  # share of an array's largest number, for machines where DIGITS is not enough

Array = NDArray[np.float64]


@dataclass(frozen=True)
class InputStatistics:
    """What the service needs to compare an image with the training set; see docs/watchman.md."""

    images: int  # of the training set, N
    weight: Array  # (C, 1, 5, 5), of the first convolution, for images in [0, 1]
    bias: Array  # (C,)
    border: int
    floor: float
    mean: Array  # (3C,)
    whitening: Array  # L (3C, 3C)
    shift_limit: float  # of |(f - m) L|; 1 % of the training set is beyond
    brightness: Array  # (2,): 1 % of the training set has a mean pixel below or above, 0 to 255
    window: int
    drift_limit: float  # of |(mean of f over a window - m) L|; no clean stream was beyond

    def to_json(self) -> str:
        """Return the statistics as JSON for the model's metadata."""
        return json.dumps({key: _rounded(value) for key, value in asdict(self).items()})


def measure(model: nn.Sequential, images: Tensor) -> InputStatistics:
    """Return the input statistics of the training set.

    Args:
        model: the trained network, which begins with a convolution and a batch norm.
        images: (N, 1, 28, 28) uint8, of the training set.

    Raises:
        ExportError: there are too few images, or they are too similar.
    """
    weight, bias = _convolution(model)  # (C, 1, 5, 5), (C,)
    f = statistics(images, weight)  # (N, 3C)
    mean, whitening = _gaussian(f)
    z = (f - mean) @ whitening  # (N, 3C)
    low, high = FALSE_ALARMS / 2, 1 - FALSE_ALARMS / 2
    return InputStatistics(
        images=len(images),
        weight=weight.numpy(),
        bias=bias.numpy(),
        border=BORDER,
        floor=FLOOR,
        mean=mean,
        whitening=whitening,
        shift_limit=float(np.quantile(np.linalg.norm(z, axis=1), 1 - FALSE_ALARMS)),
        brightness=np.quantile(images.double().mean((1, 2, 3)).numpy(), (low, high)),
        window=WINDOW,
        drift_limit=drift_limit(z),
    )


def differences(text: str, right: InputStatistics) -> list[str]:
    """Return how the `input_statistics` of a model's metadata differ from the training set's."""
    try:
        found = json.loads(text)
        wrong = [
            key
            for key, value in asdict(right).items()
            if not _are_close(np.array(found[key], np.float64), np.asarray(value))
        ]
    except (KeyError, ValueError, TypeError) as error:
        return [f"its input statistics are broken: {type(error).__name__}: {error}"]
    return [f"its input statistics are not the training set's: {', '.join(wrong)}"] if wrong else []


def _are_close(found: Array, right: Array) -> bool:
    if found.shape != right.shape:
        return False
    return bool(np.abs(found - right).max() <= TOLERANCE * np.abs(right).max())


def statistics(images: Tensor, weight: Tensor) -> Array:
    """Return the statistics f (N, 3C) of images (N, 1, 28, 28) uint8; the formulas are above."""
    found = [_statistics(batch.double() / 255, weight) for batch in torch.split(images, BATCH)]
    return torch.cat(found).numpy()  # (N, 3C)


def _statistics(X: Tensor, weight: Tensor) -> Tensor:
    Y = functional.conv2d(X, weight)  # (N, C, 24, 24)
    inner = Y[:, :, BORDER:-BORDER, BORDER:-BORDER]  # (N, C, 20, 20)
    positions, inside = Y[0, 0].numel(), inner[0, 0].numel()
    border = (Y.sum((2, 3)) - inner.sum((2, 3))) / (positions - inside)  # (N, C)
    square = Y[:, :, PATCHES, PATCHES].square().mean((2, 3))  # (N, C)
    return torch.cat([border, inner.mean((2, 3)), (square + FLOOR).log()], 1)  # (N, 3C)


def drift_limit(z: Array) -> float:
    """Return the largest |mean of z over a window| in 200 clean streams of 10,000 images.

    Args:
        z: (N, F), the training set's (f - m) L; streams are drawn from it with replacement.
    """
    generator = np.random.default_rng(0)
    highest = 0.0
    for _ in range(STREAMS):
        drawn = z[generator.integers(len(z), size=STREAM)]  # (STREAM, F)
        total = np.cumsum(drawn, axis=0)  # (STREAM, F)
        means = (total[WINDOW:] - total[:-WINDOW]) / WINDOW  # (STREAM - WINDOW, F)
        highest = max(highest, float(np.linalg.norm(means, axis=1).max()))
    return highest


def _convolution(model: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Return weight (C, 1, 5, 5) and bias (C,) of the convolution before the first batch norm."""
    first, norm = model[0], model[1]
    if not isinstance(first, nn.Conv2d) or not isinstance(norm, BatchNorm):
        raise ExportError(
            f"the network begins with {type(first).__name__} and {type(norm).__name__}: input "
            "statistics are those between a Conv2d and a BatchNorm"
        )
    weight = first.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if first.bias is None else first.bias.detach().double()
    return weight, bias


def _gaussian(f: Array) -> tuple[Array, Array]:
    """Return the mean (F,) of f (N, F), and L (F, F) with L L^T the inverse of its covariance."""
    mean = f.mean(axis=0)  # (F,)
    centred = f - mean  # (N, F)
    # Not with BLAS, whose order of summation depends on the number of threads.
    covariance = np.einsum("ni,nj->ij", centred, centred) / len(f)  # (F, F)
    try:
        return mean, np.linalg.cholesky(np.linalg.inv(covariance))
    except np.linalg.LinAlgError as error:
        raise ExportError(
            f"the training set's {len(f):,} images have input statistics without a spread of "
            "their own in every direction: take more or other images, or leave the statistics "
            "out with --no-input-statistics"
        ) from error


def _rounded(value: float | int | Array) -> object:
    if isinstance(value, int):
        return value
    rounded = np.vectorize(lambda number: float(f"{number:.{DIGITS}g}"))(value)
    return rounded.tolist()
