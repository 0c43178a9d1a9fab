"""Find the layer in which a folded model starts to deviate from the trained network.

In a copy of the graph, every layer's node is made an output. ONNX Runtime
computes the copy without optimisation, so that the nodes are computed as
written. Each is compared with the trained layer that it replaces, including the
batch norm that was folded into it, in float64.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.onnx_file.lenet import chain
from export.onnx_file.outputs import BATCH, OPTIMISATIONS, compute
from export.onnx_file.session import open_session
from export.proof.deviation import largest_error
from training.batch_norm import BatchNorm

LAYER_NODE = re.compile(r"[a-z]+_\d+")  # names from onnx_file.lenet: conv_0, not gemm_7_input

# A layer's error is beyond rounding from this multiple of eval mode's own error on. Correct models
# of 17 checkpoints had up to 2.4 times; a visible mistake gives a hundred times or more, also in
# the layers after it.
BEYOND_ROUNDING = 8.0
UNIT = 2.0**-24  # float32's unit roundoff


@dataclass(frozen=True)
class LayerDeviation:
    """One node of the folded model against the trained layers it replaces, over all images."""

    node: str  # "conv_0"
    trained: tuple[str, ...]  # ("0", "1"): a convolution and its batch norm
    max_error: float  # largest |difference| from float64
    magnitude: float  # largest |value| of this layer in float64
    eval_mode_error: float  # largest |difference| of the trained layers in float32 from float64

    @property
    def relative_error(self) -> float:
        """Return the largest error as a share of the layer's magnitude; 0 if both are 0."""
        return self.max_error / self.magnitude if self.magnitude else self.max_error

    @property
    def beyond_rounding(self) -> bool:
        """Return whether float32 rounding cannot explain the error; True for NaN."""
        rounding = max(self.eval_mode_error, UNIT * self.magnitude)
        return not self.max_error <= BEYOND_ROUNDING * rounding


def first_beyond_rounding(layers: Sequence[LayerDeviation]) -> LayerDeviation | None:
    """Return the layer in which a deviation starts; None if there is none."""
    return next((layer for layer in layers if layer.beyond_rounding), None)


def compare_layers(
    model: nn.Sequential, proto: onnx.ModelProto, refolded: onnx.ModelProto, images: Tensor
) -> list[LayerDeviation]:
    """Return the deviation of every layer's node, in order; nodes that the model lacks are omitted.

    Args:
        model: the trained network in eval mode.
        proto: the folded model to measure.
        refolded: the trained network folded again; its node names are used.
        images: (N, C, H, W) uint8.

    Raises:
        ModelError: ONNX Runtime cannot compute the model.
    """
    present = {output for node in proto.graph.node for output in node.output}
    nodes = [node for node in refolded.graph.node if LAYER_NODE.fullmatch(node.name)]
    groups = trained_layers(model)
    chosen = [index for index, node in enumerate(nodes) if node.output[0] in present]
    outputs = [nodes[index].output[0] for index in chosen]
    figures = np.zeros((len(chosen), 3))  # max_error, magnitude, eval_mode_error
    exposed = open_session(_expose(proto, outputs), OPTIMISATIONS["disabled"])
    exact = copy.deepcopy(model).double()
    for batch in torch.split(images, BATCH):
        found = compute(exposed, outputs, batch) if outputs else []
        right, eval_mode = list(_layer_outputs(exact, batch)), list(_layer_outputs(model, batch))
        for row, index in enumerate(chosen):
            now = _figures(found[row], right[index], eval_mode[index])
            figures[row] = np.maximum(figures[row], now)  # NaN stays NaN
    return [
        LayerDeviation(nodes[index].name, groups[index], *map(float, row))
        for index, row in zip(chosen, figures, strict=True)
    ]


def _figures(
    found: NDArray[np.floating], right: NDArray[np.floating], eval_mode: NDArray[np.floating]
) -> tuple[float, float, float]:
    """Return the largest error, magnitude and error of eval mode on one batch."""
    return (
        _largest_error(found, right),
        float(np.abs(right).max()),
        _largest_error(eval_mode, right),
    )


def trained_layers(model: nn.Sequential) -> list[tuple[str, ...]]:
    """Return the names of the trained layers that each folded layer replaces, with batch norms."""
    groups: list[tuple[str, ...]] = []
    for name, layer in chain(model):
        if isinstance(layer, BatchNorm):
            groups[-1] = (*groups[-1], name)
        else:
            groups.append((name,))
    return groups


def _layer_outputs(model: nn.Sequential, images: Tensor) -> Iterator[NDArray[np.floating]]:
    """Yield the output of each of `trained_layers`, (N, ...), in the precision of the weights."""
    X = images.to(next(model.parameters()).dtype) / 255
    with torch.no_grad():
        for group in trained_layers(model):
            for name in group:
                X = model.get_submodule(name)(X)
            yield X.numpy()


def _expose(proto: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """Return a copy with these inner values as outputs too; ONNX Runtime infers their types."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(proto)
    outputs = {output.name for output in exposed.graph.output}
    exposed.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in outputs
    )
    content: bytes = exposed.SerializeToString()
    return content


def _largest_error(found: NDArray[np.floating], right: NDArray[np.floating]) -> float:
    """Return the largest error; infinity if the shapes differ, since it is another layer."""
    if found.shape != right.shape:
        return float("inf")
    return largest_error(found, right)
