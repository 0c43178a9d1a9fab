"""Artificial images, to find mistakes that ordinary ones would not show.

Zeros leave only the bias of the first layer; 255 everywhere makes its sums as
large as possible; noise and checkerboards have high frequencies, which smooth
images lack; a single bright pixel tests one column of the first layer's weights.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from export.onnx_file.outputs import Outputs, folded_outputs, reference_outputs, trained_outputs
from export.proof.deviation import largest_error, margins
from training.data.dataset import SIDE

NOISE_SEED = 0
SQUARES = (1, 2, 4, 7, 14)  # a checkerboard's squares, in pixels

# Of noise, and of places for the bright pixel: as many as Fashion-MNIST's images have pixels
# take a second, and of larger images only some.
SMALL = SIDE * SIDE  # numbers of an image
NOISE_IMAGES, FEW_IMAGES = 256, 12


@dataclass(frozen=True)
class AdversarialResult:
    """The figures for one kind of image. Errors are the largest of a logit, against float64."""

    images: int
    eval_mode_error: float  # of the trained network in float32
    folded_error: Mapping[str, float]  # of model.onnx, by ONNX Runtime's optimisation level
    classes_equal: int  # images for which both runs of model.onnx predict float64's class
    smallest_margin: float  # smallest lead of a predicted class's logit over the next, float64
    undecided: int  # images whose margin is not above twice the largest error: rounding may decide


def adversarial_images(shape: tuple[int, int, int] = (1, SIDE, SIDE)) -> dict[str, Tensor]:
    """Return the images of each kind, (N, C, H, W) uint8."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    numbers = math.prod(shape)
    count = NOISE_IMAGES if numbers <= SMALL else FEW_IMAGES
    noise = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    places = torch.arange(numbers)
    if numbers > SMALL:
        places = torch.randint(numbers, (FEW_IMAGES,), generator=generator)
    return {
        "all 0": torch.zeros(1, *shape, dtype=torch.uint8),
        "all 255": torch.full((1, *shape), 255, dtype=torch.uint8),
        "noise": noise,
        "one hot pixel": _hot_pixels(places, shape),
        "checkerboard": torch.cat([_checkerboards(square, shape) for square in SQUARES]),
    }


def _hot_pixels(places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return one image for each place (P,), with 255 there and 0 elsewhere, (P, C, H, W) uint8."""
    images = torch.zeros(len(places), math.prod(shape), dtype=torch.uint8)
    images[torch.arange(len(places)), places] = 255
    return images.reshape(-1, *shape)


def _checkerboards(square: int, shape: tuple[int, int, int]) -> Tensor:
    """Return both colourings of one size of squares, (2, C, H, W) uint8."""
    channels, height, width = shape
    rows, columns = torch.arange(height) // square, torch.arange(width) // square
    odd = (rows[:, None] + columns) % 2  # (H, W)
    both = (torch.stack([odd, 1 - odd]) * 255).to(torch.uint8)  # (2, H, W)
    return both.unsqueeze(1).expand(-1, channels, -1, -1)  # (2, C, H, W)


def attack(model: nn.Sequential, onnx_model: bytes) -> dict[str, AdversarialResult]:
    """Return the errors of a folded model against the trained network on every kind of image.

    Raises:
        ModelError: ONNX Runtime cannot compute the model.
    """
    kinds = adversarial_images()
    sizes = [len(images) for images in kinds.values()]
    together = torch.cat(list(kinds.values()))
    reference = reference_outputs(model, together)
    eval_mode = trained_outputs(model, together)
    folded = folded_outputs(onnx_model, together)
    results, start = {}, 0
    for kind, size in zip(kinds, sizes, strict=True):
        part = slice(start, start + size)
        results[kind] = _result(
            _part(reference, part),
            _part(eval_mode, part),
            {name: _part(outputs, part) for name, outputs in folded.items()},
        )
        start += size
    return results


def _part(outputs: Outputs, part: slice) -> Outputs:
    return Outputs(outputs.logits[part], outputs.probabilities[part])


def _result(
    reference: Outputs, eval_mode: Outputs, folded: Mapping[str, Outputs]
) -> AdversarialResult:
    errors = {
        name: largest_error(outputs.logits, reference.logits) for name, outputs in folded.items()
    }
    margin = margins(reference)  # (N,)
    equal = np.logical_and.reduce([o.classes == reference.classes for o in folded.values()])  # (N,)
    return AdversarialResult(
        images=len(reference),
        eval_mode_error=largest_error(eval_mode.logits, reference.logits),
        folded_error=errors,
        classes_equal=int(equal.sum()),
        smallest_margin=float(margin.min()),
        undecided=int((~(margin > 2 * np.max(list(errors.values())))).sum()),
    )
