"""Criterion A: the file's graph in float64 against the network in float64.

Without float32's rounding a right graph is the network to 1e-12 or so, and a wrong one is not. But
a foreign file's folded weights are themselves rounded to float32. What that may change is found
out: each weight of the network is moved by up to half a unit in the last place, at random.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.interpreter.graph import Float64Graph
from export.network.input_format import InputFormat
from export.network.loading import Network
from export.verification.candidate import Candidate, filled
from export.verification.measurement import Inputs, exact_logits, exact_sums

EXACT = 1e-9  # right graphs: 1.2e-13 at most; one weight off by a thousandth: 3e-6 at least
ALLOWANCE = 4.0  # times what rounding the weights changes: right graphs needed 1.1
IMAGES = 16
DRAWS, DRAWN_IMAGES = 3, 8
HALF_ULP = 2.0**-24  # of float32, relative: its largest rounding error


@dataclass(frozen=True)
class GraphDeviation:
    """The graph in float64 against the network in float64. Both figures are relative.

    They are divided by the largest logit.
    """

    images: int
    error: float  # largest |difference| of a logit
    rounding: float  # by how much the network's logits change if its weights are rounded

    @property
    def limit(self) -> float:
        """Return the largest error of a right graph."""
        return max(EXACT, ALLOWANCE * self.rounding)


def graph_deviation(
    network: Network,
    exact: nn.Module,
    candidate: Candidate,
    proto: onnx.ModelProto,
    images: Tensor,
    unrounded: Mapping[str, NDArray[np.floating]] | None = None,
) -> GraphDeviation:
    """Return the deviation of a file's graph.

    Args:
        network: the network.
        exact: its module in float64.
        candidate: the file.
        proto: its graph.
        images: (N, C, H, W) uint8.
        unrounded: the folded weights, for a file that we wrote; then no rounding is allowed for.

    Raises:
        UnknownOperatorError: the graph has an operator that is not known.
    """
    graph = Float64Graph(proto, unrounded)
    with exact_sums():
        given = Inputs.of(images, network.input_format, candidate)
        right = exact_logits(exact, given.exact)  # (N, K)
        feed = given.images if candidate.takes_bytes else given.exact
        size = candidate.batch or len(feed)
        whole = feed[: len(feed) // size * size] if len(feed) >= size else filled(feed, size)
        parts = [
            graph.run({candidate.input: part}, candidate.output)
            for part in torch.split(whole, size)
        ]
        found = torch.cat(parts)[: len(right)]
        right = right[: len(found)]
        largest = float(right.abs().max())
        rounding = 0.0
        if unrounded is None:
            some = images[:DRAWN_IMAGES]
            rounding = _rounding(exact, network.input_format, some, candidate) / largest
    return GraphDeviation(len(right), float((found - right).abs().max()) / largest, rounding)


def _rounding(
    exact: nn.Module, input_format: InputFormat, images: Tensor, candidate: Candidate
) -> float:
    """Return the largest change of a logit when weights move by up to half a float32 ULP."""
    right = exact_logits(exact, Inputs.of(images, input_format, candidate).exact)
    largest = 0.0
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        moved = copy.deepcopy(exact)
        for value in {id(v): v for v in (*moved.parameters(), *moved.buffers())}.values():
            if value.is_floating_point():
                value.mul_(_near_one(value.shape, generator))
        mean, std = (
            tuple((torch.tensor(v).double() * _near_one((len(v),), generator)).tolist())
            for v in (input_format.mean, input_format.std)
        )
        format_moved = replace(input_format, mean=mean, std=std)
        given = Inputs.of(
            images, format_moved if candidate.takes_bytes else input_format, candidate
        )
        largest = max(largest, float((exact_logits(moved, given.exact) - right).abs().max()))
    return largest


def _near_one(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    unit = torch.rand(shape, generator=generator, dtype=torch.float64)
    return 1 + HALF_ULP * (2 * unit - 1)
