"""A file that `python -m export` wrote is compared bit by bit: the network is folded again."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export.errors import ExportError
from export.folding.fold import Folding, fold_with_report
from export.folding.normalization import Normalization
from export.folding.tracing import EXAMPLES
from export.network.loading import Network
from export.onnx_file.emission import PRODUCER, Style, emit
from export.proof.refolding import graph_differences

Weights = Mapping[str, NDArray[np.floating]]


def fold_network(network: Network) -> Folding:
    """Return a network of the user's, folded; the result takes an image's bytes.

    Raises:
        FoldError: it cannot be traced or folded.
    """
    takes = network.input_format
    example = torch.zeros(EXAMPLES, *takes.shape)
    return fold_with_report(network.module, example, Normalization(takes.mean, takes.std))


def refold(network: Network, proto: onnx.ModelProto) -> tuple[Weights | None, tuple[str, ...]]:
    """Return the folded weights before rounding, and how a file differs from the one we write.

    Without a difference the file's weights are those, rounded; with one, or if the file is not
    ours, there are none.
    """
    if (proto.producer_name, proto.graph.name) != (PRODUCER, Style().name):
        return None, ()
    try:
        right = emit(fold_network(network).network)
    except ExportError as error:
        return None, (f"its producer is {PRODUCER}, which refuses this network: {error}",)
    found = tuple(f"A: {text}" for text in graph_differences(proto, right.model))
    return (None, found) if found else (right.exact_weights, ())


def rounding_differences(proto: onnx.ModelProto, unrounded: Weights) -> Iterator[str]:
    """Yield a message for each initialiser that is not the folded value, rounded once."""
    for initializer in proto.graph.initializer:
        if initializer.name in unrounded:
            found = numpy_helper.to_array(initializer)
            right = unrounded[initializer.name].astype(found.dtype)
            if found.tobytes() != right.tobytes():
                count = int((found != right).sum())
                yield (
                    f"A: {count:,} of {found.size:,} numbers of its tensor {initializer.name} are "
                    "not the folded ones, rounded once"
                )
