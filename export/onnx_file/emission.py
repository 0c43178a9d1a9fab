"""Write a folded network as an ONNX model that takes an image's own bytes.

    image (N, C, H, W) uint8 -> Cast -> Sub, where there is a mean -> the network -> logits
                                                                            logits -> probabilities

Each operator of the folded graph becomes one node or a few, named after the module whose forward
computes it. The file is the same on any day, in any folder and process. Its opset is the lowest in
which every operator in it has today's meaning (https://onnx.ai/onnx/operators), its IR version the
lowest that allows that opset (https://onnx.ai/onnx/repo-docs/Versioning.html).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import fx

from export.errors import GraphError
from export.folding.functional_graph import aten, call_name, module_of, shape_of
from export.onnx_file import elementwise, layers, pooling, shapes
from export.onnx_file.builder import GraphBuilder, NodeName, module_name

PRODUCER, PRODUCER_VERSION = "fashion-lenet-bn", "1.0.0"  # as pyproject.toml has them

INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"
BATCH = "N"

OPERATORS = {
    **layers.OPERATORS,
    **elementwise.OPERATORS,
    **pooling.OPERATORS,
    **shapes.OPERATORS,
}

LOGITS_DOC = """\
Axes: image, class in the order of the metadata's labels. float32, any real number; the largest \
is the predicted class's."""
PROBABILITIES_DOC = """\
Axes: image, class in the order of the metadata's labels. float32 in [0, 1]: softmax of the \
logits; an image's add up to 1."""


@dataclass(frozen=True)
class Style:
    """What a model says of itself, how its nodes are named, and how exact its linear layers are."""

    name: str = "classifier"  # of the graph
    doc: str = (
        "An image classifier in inference, each batch norm folded into a layer beside it or left "
        "as a product and a sum. The metadata properties hold labels, version, provenance, the "
        "proof of equivalence with the trained network, and golden samples to check a device with."
    )
    image_doc: str = (
        "Axes: image (as many as you like), channel, row from the top, column from the left. "
        "uint8, as a picture file stores it: not scaled and not normalised."
    )
    node_name: NodeName = module_name
    linear_dtype: type[np.floating] = np.float32


@dataclass(frozen=True)
class EmittedModel:
    """An ONNX model, and what its file does not say of it."""

    model: onnx.ModelProto
    exact_weights: Mapping[str, NDArray[np.float64]]  # each float initialiser before it was rounded
    modules: Mapping[str, str] = field(default_factory=dict)  # value -> module that gives the same


def emit(network: fx.GraphModule, style: Style | None = None) -> EmittedModel:
    """Return a folded network as an ONNX model.

    Weights are rounded to float32 here and nowhere else.

    Args:
        network: what `export.folding.fold.fold` returns; takes an image's bytes as floats.
        style: names and texts; by default those for any network.

    Returns:
        A checked model: `image` uint8 (N, C, H, W) to `logits` and `probabilities`, both float32
        (N, K), for any N.

    Raises:
        GraphError: an operator has no ONNX counterpart here, or the output is not (N, K).
    """
    style = style or Style()
    image, output = _ends(network.graph)
    result = output.args[0]
    assert isinstance(result, fx.Node)  # noqa: S101
    num_classes = _num_classes(image, result)
    builder = GraphBuilder(
        dict(network.state_dict()),
        linear_dtype=style.linear_dtype,
        node_name=style.node_name,
        reserved=(INPUT, LOGITS, PROBABILITIES),
    )
    modules = _emit_nodes(builder, network.graph)
    found = builder.value(result)
    if found not in {name for node in builder.nodes[1:] for name in node.output}:
        raise GraphError("the network gives its input back: expected a classifier")
    builder.rename(found, LOGITS)
    modules = {LOGITS if value == found else value: name for value, name in modules.items()}
    builder.nodes.append(
        helper.make_node(
            "Softmax", [LOGITS], [PROBABILITIES], name=builder.unique("softmax"), axis=1
        )
    )
    model = _model(builder, style, [int(size) for size in shape_of(image)[1:]], num_classes)
    return EmittedModel(model, builder.exact_weights, modules)


def _ends(graph: fx.Graph) -> tuple[fx.Node, fx.Node]:
    nodes = list(graph.nodes)
    return next(node for node in nodes if node.op == "placeholder"), nodes[-1]


def _num_classes(image: fx.Node, result: fx.Node) -> int:
    shape = shape_of(result)
    if len(shape_of(image)) != 4:
        raise GraphError(
            f"the network takes {_axes(shape_of(image))}: expected images (N, C, H, W)"
        )
    batch, *rest = shape
    if len(shape) != 2 or batch != shape_of(image)[0] or not isinstance(rest[0], int):
        raise GraphError(
            f"the network gives {_axes(shape)}: expected logits (N, K), one row of K classes for "
            "each image"
        )
    return rest[0]


def _axes(shape: tuple[int | str, ...]) -> str:
    sizes = [str(size) if isinstance(size, int) else BATCH for size in shape]
    return f"({', '.join(sizes)})"


def _emit_nodes(builder: GraphBuilder, graph: fx.Graph) -> dict[str, str]:
    """Emit all operators; return the values that modules of the trained network give as well."""
    modules: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            builder.bind(node, builder.cast(INPUT, np.float32, "pixels"))
        elif node.op == "call_function" and node.target is not aten.sym_size.int:
            emit_node = OPERATORS.get(node.target)
            if emit_node is None:
                raise GraphError(
                    f"{call_name(node)} cannot be written as ONNX: the operator {node.target} is "
                    "not known here; write the forward with other operators"
                )
            builder.at(node)
            value = emit_node(builder, node)
            builder.bind(node, value)
            if module := node.meta.get("absorbed") or module_of(node):
                modules[value] = module
    last = {module: value for value, module in modules.items()}
    return {value: module for module, value in last.items()}


def _model(
    builder: GraphBuilder, style: Style, image_shape: list[int], num_classes: int
) -> onnx.ModelProto:
    outputs = ((LOGITS, LOGITS_DOC), (PROBABILITIES, PROBABILITIES_DOC))
    graph = helper.make_graph(
        builder.nodes,
        style.name,
        [
            helper.make_tensor_value_info(
                INPUT, TensorProto.UINT8, [BATCH, *image_shape], doc_string=style.image_doc
            )
        ],
        [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [BATCH, num_classes], doc_string=doc
            )
            for name, doc in outputs
        ],
        builder.initializers,
        doc_string=style.doc,
    )
    opsets = [helper.make_opsetid("", builder.opset)]
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name=PRODUCER,
        producer_version=PRODUCER_VERSION,
        doc_string=style.doc,
    )
    onnx.checker.check_model(model, full_check=True)
    return model
