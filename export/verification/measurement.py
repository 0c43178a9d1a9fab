"""Measure a file and the network's own float32 against float64, batch by batch.

Three networks compute the same images: the trained one in float64, which is the reference; itself
in float32, whose error is the yardstick; and the file, by ONNX Runtime. Which float32 sums come
out nearer is chance, and changes by up to 5.6 times with the layout of the images in memory; so
the yardstick is the larger of two layouts' errors.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.network.data import Images
from export.network.input_format import InputFormat
from export.network.loading import Network
from export.onnx_file.outputs import one_thread
from export.verification.candidate import Candidate
from export.verification.tally import Run, Tally

CONTIGUOUS, CHANNELS_LAST = "eval mode", "eval mode, channels last"
DEFAULT, DISABLED = "default", "disabled"  # ONNX Runtime's optimisation of the file

SECOND_LOOK = 64  # images for the second layout, and for the file without optimisation
VALUES_IN_BATCH = 2**21  # of all images in a batch together: 13 of 3 x 224 x 224
# 1 of them in float64: larger intermediate values are memory that the system gives and takes each
# time, which took a quarter of the CPU time for a ResNet-18.
EXACT_VALUES_IN_BATCH = 2**18
MOST_IN_BATCH = 1000

Progress = Callable[[int], None]  # called with how many more images are done


@dataclass(frozen=True)
class Measurement:
    """The runs' figures on the same images."""

    runs: dict[str, Run]  # by the names above
    largest_logit: float  # largest |logit| of the reference
    margins: NDArray[np.float64] = field(repr=False)  # (N,) lead of the reference's best class

    @property
    def images(self) -> int:
        """Return the number of images."""
        return len(self.margins)

    @property
    def own_error(self) -> float:
        """Return eval mode's own largest error in float32, in either layout."""
        return max(self.runs[CONTIGUOUS].max_error, self.runs[CHANNELS_LAST].max_error)


@dataclass(frozen=True)
class Inputs:
    """A batch of images in every form."""

    images: Tensor  # (B, C, H, W) uint8
    values: Tensor  # normalised, float32
    exact: Tensor  # normalised, float64

    @classmethod
    def of(cls, images: Tensor, input_format: InputFormat, candidate: Candidate) -> "Inputs":
        """Return images in every form. What the file takes is what all three networks take.

        A file that takes bytes is measured from the bytes on. One that takes normalised values is
        given them rounded to float32, and so is the reference: that rounding is not the file's.
        """
        exact = input_format.normalise(images, torch.float64)
        if candidate.takes_bytes:
            return cls(images, input_format.normalise(images, torch.float32), exact)
        values = exact.float()
        return cls(images, values, values.double())


class Reference:
    """The trained network in float64 and in float32."""

    def __init__(self, network: Network) -> None:
        """Copy the network in both precisions."""
        self.exact: nn.Module = copy.deepcopy(network.module).double()
        self.rounded: nn.Module = network.module
        self.input_format = network.input_format

    def measure(
        self, candidate: Candidate, images: Images, progress: Progress = lambda _: None
    ) -> Measurement:
        """Return the figures of all runs. Memory is bounded by a batch, not by the images.

        Raises:
            ModelError: ONNX Runtime cannot compute the file.
        """
        tallies = {n: Tally() for n in (CONTIGUOUS, CHANNELS_LAST, DEFAULT, DISABLED)}
        margins, largest, done = [], 0.0, 0
        with exact_sums():
            for batch in images.batches(batch_size(images.shape)):
                given = Inputs.of(batch, self.input_format, candidate)
                reference = exact_logits(self.exact, given.exact).numpy()  # (B, K)
                again = max(SECOND_LOOK - done, 0)
                for name, found in self._runs(candidate, given, again):
                    tallies[name].add(found, reference[: len(found)])
                ranked = np.sort(reference, axis=1)  # (B, K)
                margins.append(ranked[:, -1] - ranked[:, -2])  # (B,)
                largest = max(largest, float(np.abs(reference).max()))
                done += len(batch)
                progress(len(batch))
        runs = {name: tally.run() for name, tally in tallies.items()}
        return Measurement(runs, largest, np.concatenate(margins))

    def _runs(
        self, candidate: Candidate, given: Inputs, again: int
    ) -> Iterator[tuple[str, NDArray[np.floating]]]:
        """Yield each run's logits; the second looks' for at most so many images."""
        yield CONTIGUOUS, self.rounded(given.values).numpy()
        yield DEFAULT, candidate.logits(DEFAULT, given.images, given.values)
        if again:
            images, values = given.images[:again], given.values[:again]
            last = values.contiguous(memory_format=torch.channels_last)
            yield CHANNELS_LAST, self.rounded(last).numpy()
            yield DISABLED, candidate.logits(DISABLED, images, values)


@contextmanager
def exact_sums() -> Iterator[None]:
    """Compute without gradients and on one thread, so that figures are the same each time."""
    with torch.no_grad(), one_thread():
        yield


def exact_logits(exact: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (N, K) of images (N, C, H, W) in float64, a few at a time."""
    size = batch_size(images.shape[1:], EXACT_VALUES_IN_BATCH)
    return torch.cat([exact(some) for some in torch.split(images, size)])


def batch_size(shape: Sequence[int], values_in_batch: int = VALUES_IN_BATCH) -> int:
    """Return how many images of (C, H, W) are computed at once."""
    values = shape[0] * shape[1] * shape[2]
    return min(max(values_in_batch // values, 1), MOST_IN_BATCH)
