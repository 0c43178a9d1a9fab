"""Compare a model with its checkpoint bit by bit: fold the checkpoint again.

Folding uses additions, products, quotients and roots in float64, whose rounding
IEEE 754 (2019, section 5.4.1) defines exactly, so that every machine gets the
same bits. This also finds a change that is too small to change any output.
"""

import itertools
import json
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn

from export.onnx_file.lenet import emit_lenet


def refold(model: nn.Sequential) -> onnx.ModelProto:
    """Return the ONNX model of the trained network, folded and emitted again.

    Raises:
        ExportError: it cannot be folded or emitted.
    """
    return emit_lenet(model).model


def graph_differences(found: onnx.ModelProto, right: onnx.ModelProto) -> list[str]:
    """Return the differences between a model's nodes and tensors and the refolded model's.

    Only the first differing node and the first differing tensor are named.
    """
    return [*_node_differences(found, right), *_tensor_differences(found, right)]


def _node_differences(found: onnx.ModelProto, right: onnx.ModelProto) -> Iterator[str]:
    left_over = [node.name for node in found.graph.node if node.op_type == "BatchNormalization"]
    if left_over:
        yield f"its graph still has BatchNormalization nodes ({', '.join(left_over)})"
        return
    pairs = itertools.zip_longest(found.graph.node, right.graph.node)
    for position, (node, expected) in enumerate(pairs):
        if node is None or expected is None or _meaning(node) != _meaning(expected):
            yield f"its node {position} is {_describe(node)}, not {_describe(expected)}"
            return


def _meaning(node: onnx.NodeProto) -> tuple[object, ...]:
    """Return the parts of a node that affect the computation, without names and comments."""
    attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
    values = [(a.name, a.SerializeToString(deterministic=True)) for a in attributes]
    return node.op_type, node.domain, tuple(node.input), tuple(node.output), tuple(values)


def _describe(node: onnx.NodeProto | None) -> str:
    if node is None:
        return "missing"
    text: str = onnx.helper.printable_node(node)  # type: ignore[assignment]
    return text


def _tensor_differences(found: onnx.ModelProto, right: onnx.ModelProto) -> Iterator[str]:
    have = {tensor.name: tensor for tensor in found.graph.initializer}
    want = {tensor.name: tensor for tensor in right.graph.initializer}
    faults = [
        fault for name in want if (fault := _tensor_difference(name, have.get(name), want[name]))
    ]
    faults += [f"tensor {name} does not belong" for name in have if name not in want]
    if faults:
        more = f" (and {len(faults) - 1} more tensors are wrong)" if len(faults) > 1 else ""
        yield f"its {faults[0]}{more}"


def _tensor_difference(
    name: str, found: onnx.TensorProto | None, right: onnx.TensorProto
) -> str | None:
    if found is None:
        return f"tensor {name} is missing"
    a, b = numpy_helper.to_array(found), numpy_helper.to_array(right)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"tensor {name} is {a.dtype} {a.shape}, not {b.dtype} {b.shape}"
    if a.tobytes() == b.tobytes():
        return None
    with np.errstate(invalid="ignore"):
        off = np.abs(a.astype(np.float64) - b.astype(np.float64))
    where = np.unravel_index(int(off.argmax()), off.shape)
    place = ", ".join(str(int(index)) for index in where)
    return (
        f"tensor {name} is not the checkpoint's, folded again: {int((a != b).sum()):,} of "
        f"{a.size:,} values differ, [{place}] by {off[where]:.3g} ({a[where]:.9g}, not "
        f"{b[where]:.9g})"
    )


def metadata_differences(
    found: onnx.ModelProto, labels: Sequence[str], checkpoint_sha256: str
) -> list[str]:
    """Return the differences between a model's metadata and its checkpoint: labels and digest."""
    properties = {entry.key: entry.value for entry in found.metadata_props}
    faults = []
    named = _json(properties, "labels")
    if named != list(labels):
        faults.append(f"its labels are {named}, not {list(labels)}")
    provenance = _json(properties, "provenance")
    digest = provenance.get("checkpoint_sha256") if isinstance(provenance, dict) else None
    if digest != checkpoint_sha256:
        faults.append(
            f"it says that it comes from a checkpoint with SHA-256 {digest}, but this one has "
            f"{checkpoint_sha256}: the checkpoint or the model is stale"
        )
    return faults


def _json(properties: dict[str, str], key: str) -> object:
    """Return one property; None if it is missing or not JSON, which differs from every value."""
    try:
        value: object = json.loads(properties[key])
    except (KeyError, ValueError):
        return None
    return value
