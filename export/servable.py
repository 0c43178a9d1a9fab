"""Make a servable model of any exporter's ONNX classifier, by nodes before and after its own.

    image (N, C, H, W) uint8 -> Cast -> Sub -> Mul -> the network -> Cast -> logits
                                                                    logits -> probabilities

A network that takes bytes itself gets an Identity in front instead. Its own nodes stay as they are,
under names with a prefix, so that none is one of ours. Whether the result computes what it should
is for a verification to find.
"""

from collections.abc import Iterator

import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from export.errors import ModelError
from export.folding.normalization import Normalization
from export.interpreter.graph import DEFAULT_DOMAINS
from export.network.input_format import InputFormat
from export.onnx_file.emission import BATCH, INPUT, LOGITS, PROBABILITIES
from export.verification.candidate import Candidate, load_graph

PREFIX = "network."
GRAPH = "sealed_classifier"

# https://onnx.ai/onnx/operators: since opset 7 Sub and Mul broadcast.
OLDEST_OPSET = 7
# https://onnx.ai/onnx/repo-docs/IR.html: since IR version 4 a weight need not be an input.
OLDEST_IR = 4
MOST_BYTES = 2**31 - 1  # of a file: protobuf's limit, and the service's


def servable(candidate: Candidate, input_format: InputFormat) -> onnx.ModelProto:
    """Return a model with `image`, uint8 (N, C, H, W), and `logits` and `probabilities`, (N, K).

    It holds its weights itself, for any N, and no stack traces of the machine that exported it.

    Args:
        candidate: the file.
        input_format: the images' shape, and how they are normalised.

    Raises:
        ModelError: onnx cannot read the file; its opset is too old, or it is too large.
    """
    proto = load_graph(candidate.path)
    opset = max(entry.version for entry in proto.opset_import if entry.domain in DEFAULT_DOMAINS)
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"{candidate.path} has opset {opset}: expected {OLDEST_OPSET} or newer; export it again"
        )
    if (size := proto.ByteSize()) > MOST_BYTES:
        raise ModelError(
            f"{candidate.path} has {size:,} bytes with its weights: expected at most "
            f"{MOST_BYTES:,}, which one file can hold"
        )
    model = compose.add_prefix(proto, PREFIX, rename_functions=False)
    own = model.graph
    if candidate.batch is not None:
        _free_batch(own, candidate.batch)
    front, constants = _front(PREFIX + candidate.input, candidate.takes_bytes, input_format)
    graph = helper.make_graph(
        [*front, *map(_without_traces, own.node), *_behind(PREFIX + candidate.output)],
        GRAPH,
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [BATCH, *input_format.shape])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, candidate.num_classes])
            for name in (LOGITS, PROBABILITIES)
        ],
        [*constants, *own.initializer],
        sparse_initializer=own.sparse_initializer,
    )
    own.CopyFrom(graph)
    model.ir_version = max(model.ir_version, OLDEST_IR)
    return model


def _front(
    value: str, takes_bytes: bool, input_format: InputFormat
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Return the nodes that make the network's input of bytes, and their constants."""
    if takes_bytes:
        return [helper.make_node("Identity", [INPUT], [value], "bytes")], []
    normalization = Normalization(input_format.mean, input_format.std)
    mean, scale = normalization.factors(input_format.channels)  # (C,)
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], "pixels", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"], "centred"),
        helper.make_node("Mul", ["centred", "scale"], [value], "normalised"),
    ]  # all (N, C, H, W)
    return nodes, [
        numpy_helper.from_array(exact.float().reshape(1, -1, 1, 1).numpy(), name)  # (1, C, 1, 1)
        for name, exact in (("mean", mean), ("scale", scale))
    ]


def _behind(value: str) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Cast", [value], [LOGITS], LOGITS, to=TensorProto.FLOAT)
    yield helper.make_node("Softmax", [LOGITS], [PROBABILITIES], PROBABILITIES, axis=1)


def _without_traces(node: onnx.NodeProto) -> onnx.NodeProto:
    del node.metadata_props[:]
    node.doc_string = ""
    return node


def _free_batch(graph: onnx.GraphProto, batch: int) -> None:
    """Let what reshapes to (batch, ...) keep the number of images, whatever it is."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for name in shapes & tensors.keys():
        sizes = numpy_helper.to_array(tensors[name]).copy()
        if sizes[:1] == batch:
            sizes[0] = 0 if -1 in sizes else -1  # 0: as many as before, -1: as many as there are
            tensors[name].CopyFrom(numpy_helper.from_array(sizes, tensors[name].name))
