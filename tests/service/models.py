"""The released model with something changed in its metadata."""

import json
from pathlib import Path

import onnx
from onnx import helper

from service.settings import RELEASED_MODEL

LABELS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def metadata() -> dict[str, str]:
    """The released model's own."""
    return metadata_of(onnx.load(RELEASED_MODEL))


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return a model's metadata."""
    return {entry.key: entry.value for entry in model.metadata_props}


def change_metadata(model: onnx.ModelProto, **changes: str | None) -> None:
    """Set pieces of a model's metadata, or (None) take them out."""
    changed = {**metadata_of(model), **changes}
    del model.metadata_props[:]
    helper.set_model_props(model, {k: v for k, v in changed.items() if v is not None})


def write_model(path: Path, **changes: str | None) -> Path:
    """Write the released model with pieces of metadata changed, or (None) taken out."""
    model = onnx.load(RELEASED_MODEL)
    change_metadata(model, **changes)
    path.write_bytes(model.SerializeToString())
    return path


def with_wrong_golden_samples(path: Path, error: float = 0.5) -> Path:
    """Write the released model as one whose first golden logit is off."""
    golden = json.loads(metadata()["golden_samples"])
    golden["logits"][0][0] += error
    return write_model(path, golden_samples=json.dumps(golden))


# What makes ONNX Runtime raise as it runs: looking for a number in a table that does not have it.


def failing_on_a_lit_corner(path: Path) -> Path:
    """Write the released model as one that cannot be run on images whose first pixel is not 0."""
    corner = helper.make_tensor("corner", onnx.TensorProto.INT64, [4], [0, 0, 0, 0])
    one = helper.make_tensor("one", onnx.TensorProto.INT64, [4], [1, 1, 1, 1])
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [4], [0, 1, 2, 3])
    limits = helper.make_tensor("limits", onnx.TensorProto.INT64, [4], [2**40, 1, 1, 1])
    whole = helper.make_tensor("whole", onnx.TensorProto.INT64, [2], [-1, 1])
    nodes = [
        helper.make_node("Slice", ["image", "corner", "limits", "axes", "one"], ["pixel"]),
        helper.make_node("Reshape", ["pixel", "whole"], ["column"]),
        helper.make_node("Cast", ["column"], ["row"], to=onnx.TensorProto.INT64),
    ]
    return _look_up(path, nodes, [corner, one, axes, limits, whole])


def failing_at_the_ninth_run(path: Path) -> Path:
    """Write the released model as one whose sessions run eight times, then fail four times.

    A start takes two to four of the runs: the check, and the measurement of an image's time.

    It fails where a random number is above 0.5, and the seed is one whose numbers are so.
    """
    two = helper.make_tensor("two", onnx.TensorProto.FLOAT, [], [2.0])
    nodes = [
        helper.make_node("RandomUniform", [], ["random"], shape=[1, 1], seed=768.0),
        helper.make_node("Mul", ["random", "two"], ["doubled"]),
        helper.make_node("Cast", ["doubled"], ["row"], to=onnx.TensorProto.INT64),
    ]
    return _look_up(path, nodes, [two])


def computing_for_ever(path: Path) -> Path:
    """Write the released model as one that adds the result of an endless loop to its logits."""
    inside = [
        helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
        helper.make_tensor_value_info("again", onnx.TensorProto.BOOL, []),
        helper.make_tensor_value_info("number", onnx.TensorProto.FLOAT, []),
    ]
    outside = [
        helper.make_tensor_value_info("and_again", onnx.TensorProto.BOOL, []),
        helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, []),
    ]
    turn = [
        helper.make_node("Identity", ["again"], ["and_again"]),
        helper.make_node("Identity", ["number"], ["same"]),
    ]
    constants = [
        helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True]),
        helper.make_tensor("nought", onnx.TensorProto.FLOAT, [], [0.0]),
    ]
    body = helper.make_graph(turn, "body", inside, outside)
    loop = helper.make_node("Loop", ["", "yes", "nought"], ["never"], body=body)
    return _add_to_logits(path, [loop], constants, "never")


def _look_up(path: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> Path:
    """Add to the logits an entry of a table with a single 0, at a row that nodes compute."""
    table = helper.make_tensor("table", onnx.TensorProto.FLOAT, [1], [0.0])
    gather = helper.make_node("Gather", ["table", "row"], ["nought"])
    return _add_to_logits(path, [*nodes, gather], [table, *constants], "nought")


def _add_to_logits(
    path: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], found: str
) -> Path:
    """Add the output of nodes to the logits."""
    model = onnx.load(RELEASED_MODEL)
    graph = model.graph
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "sums"
    added = [*nodes, helper.make_node("Add", ["sums", found], ["logits"])]
    place = list(graph.node).index(last) + 1
    rest = list(graph.node)[place:]
    del graph.node[place:]
    graph.node.extend([*added, *rest])
    graph.initializer.extend(constants)
    path.write_bytes(model.SerializeToString())
    return path
