"""How the released LeNet-BN is written: nodes numbered by layer, linear layers in float64.

A linear layer sums up to 256 products that cancel: most of float32's error comes from there. In
float64 the folded network is more accurate than the trained one (docs/folding.md has the figures),
and costs 5 % more at large batches. ONNX Runtime does not compute convolutions in float64 on any
CPU.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from export.folding.fold import fold
from export.folding.normalization import Normalization
from export.folding.tracing import EXAMPLES, is_batch_norm
from export.onnx_file.emission import EmittedModel, Style, emit
from training.data.dataset import SIDE

MODEL_DOC = """\
LeNet-BN (Dive into Deep Learning, chapter 8.5; Ioffe & Szegedy 2015) in inference, each batch \
norm folded into the layer before it. Linear layers are computed in float64, all else in float32. \
The metadata properties hold labels, version, provenance, the proof of equivalence with the \
trained network, and golden samples to check a device with."""
INPUT_DOC = """\
Axes: image (as many as you like), channel, row from the top, column from the left. uint8: 0 is \
the black background, 255 the brightest of the garment, as Fashion-MNIST stores it. Not scaled: \
the first convolution holds the 1/255."""


def chain(model: nn.Sequential) -> Iterable[tuple[str, nn.Module]]:
    """Return all layers in order with their names; named_children() omits repeated ones."""
    return model._modules.items()


def lenet_style(model: nn.Sequential) -> Style:
    """Return the style of a checkpoint's network.

    A node is called `conv_3` if its layer is the fourth that is no batch norm, and that layer's
    weight `3.weight`.
    """
    layers = [name for name, layer in chain(model) if not is_batch_norm(layer)]
    positions = {name: str(position) for position, name in enumerate(layers)}

    def node_name(module: str, operator: str) -> str:
        position = positions[module]
        return f"{operator.lower()}_{position}" if operator else position

    return Style("lenet_bn_folded", MODEL_DOC, INPUT_DOC, node_name, np.float64)


def emit_lenet(model: nn.Sequential, normalization: Normalization | None = None) -> EmittedModel:
    """Return a checkpoint's network, folded and written.

    Args:
        model: the trained network in eval mode; takes (N, 1, 28, 28) float32.
        normalization: what an image's bytes become; by default values in [0, 1].

    Raises:
        ExportError: it cannot be folded or emitted.
    """
    example = torch.zeros(EXAMPLES, 1, SIDE, SIDE)
    return emit(fold(model, example, normalization or Normalization()), lenet_style(model))
