"""Describe a `model.onnx` as text: its graph and its metadata.

Any ONNX model can be inspected; for a model that `python -m export` did not write, the text
says what is missing.
"""

import json
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from export.metadata.input_statistics import KEY as INPUT_STATISTICS
from export.onnx_file.reading import parse_model, read_bytes
from export.origin import sha256
from training.console.terminal import printable

WIDTH = 100  # of a line, at most
MISSING = "missing: `python -m export` writes it"

Rows = Iterable[tuple[str, str]]  # what it is, and its value


def inspect_model(path: Path) -> str:
    """Return a description of a model: file, inputs and outputs, nodes, and metadata.

    Raises:
        ModelError: the file cannot be read, or is not a complete and valid ONNX model.
    """
    content = read_bytes(path)
    model = parse_model(content, path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    sections = "\n\n".join(
        [
            _section(str(path), _file(content, model)),
            _section("Inputs", _values(_inputs(model.graph))),
            _section("Outputs", _values(model.graph.output)),
            _nodes(model),
            _section("Metadata", _entries(metadata)),
            _section("Provenance", _json_entry(metadata, "provenance", _flat)),
            _section("Equivalence", _json_entry(metadata, "equivalence", _flat)),
            _section("Golden samples", _json_entry(metadata, "golden_samples", _golden_samples)),
            _section("Input statistics", _json_entry(metadata, INPUT_STATISTICS, _statistics)),
        ]
    )
    return printable(sections)


def _file(content: bytes, model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    opsets = (f"{opset.domain} {opset.version}".strip() for opset in model.opset_import)
    parameters = sum(_count(tensor) for tensor in model.graph.initializer)
    yield "size", f"{len(content):,} bytes"
    yield "SHA-256", sha256(content)
    yield "opset", ", ".join(opsets)
    yield "IR version", str(model.ir_version)
    yield "producer", f"{model.producer_name} {model.producer_version}".strip() or "not named"
    yield "graph", f"{model.graph.name}, {len(model.graph.node)} nodes, {parameters:,} parameters"
    yield "about", model.doc_string or "not documented"


def _inputs(graph: onnx.GraphProto) -> list[ValueInfoProto]:
    """Return the inputs without the weights, which IR versions before 4 list as inputs."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _values(values: Iterable[ValueInfoProto]) -> Iterator[tuple[str, str]]:
    for value in values:
        yield value.name, _type(value.type)
        yield "", value.doc_string or "not documented"


def _nodes(model: onnx.ModelProto) -> str:
    """Return the nodes as a table."""
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    types = {value.name: _type(value.type) for value in (*inferred, *graph.output)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    table = [("Nodes", "operator", "takes", "gives", "parameters")]
    table += [_node(node, types, weights) for node in graph.node]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([lines[0], *(f"  {line}" for line in lines[1:])])


def _node(
    node: NodeProto, types: Mapping[str, str], weights: Mapping[str, TensorProto]
) -> tuple[str, str, str, str, str]:
    own = [weights[name] for name in node.input if name in weights]
    dtypes = sorted({_dtype(tensor.data_type) for tensor in own})
    return (
        node.name or "(no name)",
        node.op_type,
        ", ".join(name for name in node.input if name not in weights),
        ", ".join(types.get(name, "unknown") for name in node.output),
        f"{sum(map(_count, own)):,} {' and '.join(dtypes)}" if own else "",
    )


def _entries(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the metadata that has no section of its own."""
    yield "name", metadata.get("name", MISSING)
    yield "version", metadata.get("version", MISSING)
    yield from ((f"label {key}".strip(), name) for key, name in _labels(metadata))
    known = (
        *("name", "version", "labels", "provenance", "equivalence", "golden_samples"),
        INPUT_STATISTICS,
    )
    yield from ((key, value) for key, value in metadata.items() if key not in known)


def _labels(metadata: Mapping[str, str]) -> Rows:
    def number(names: list[Any]) -> Rows:
        return ((str(index), str(name)) for index, name in enumerate(names))

    return _json_entry(metadata, "labels", number)


def _json_entry(metadata: Mapping[str, str], key: str, rows: Callable[[Any], Rows]) -> Rows:
    """Return the rows that `rows` makes from one entry of the metadata."""
    if key not in metadata:
        return [("", MISSING)]
    try:
        return list(rows(json.loads(metadata[key])))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return [("", f"broken: {type(error).__name__}: {error}")]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield one row per figure of a nested object, named "outer.inner"."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _flat(inner, f"{name}.{key}" if name else key)
        case float():
            yield name, f"{value:.3g}"
        case int():
            yield name, f"{value:,}"
        case _:
            yield name, str(value)


def _golden_samples(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    logits = found["logits"]
    yield "images", f"{len(logits)}, with {len(logits[0])} logits each"
    yield "tolerance", f"{found['tolerance']:.3g}, the most that a device may be off in a logit"


def _statistics(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "images", f"{found['images']:,}, with {len(found['mean'])} statistics each"
    yield "shift_limit", f"{found['shift_limit']:.3g}, of an image's distance from their mean"
    yield "drift_limit", f"{found['drift_limit']:.3g}, of that of {found['window']} images' mean"


def _section(title: str, rows: Rows) -> str:
    """Return a title and its rows, with the values wrapped and aligned."""
    rows = list(rows)
    margin = max((len(name) for name, _ in rows), default=0)
    margin += 4 if margin else 2
    lines = [title]
    for name, value in rows:
        lines += textwrap.wrap(
            value,
            WIDTH,
            initial_indent=f"  {name}".ljust(margin),
            subsequent_indent=" " * margin,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [f"  {name}"]
    return "\n".join(lines)


def _type(value: TypeProto) -> str:
    """Return a tensor's type as "float32 (N, 10)"."""
    if not value.HasField("tensor_type"):
        return str(value.WhichOneof("value"))
    tensor = value.tensor_type
    sizes = (
        d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?")
        for d in tensor.shape.dim
    )
    return f"{_dtype(tensor.elem_type)} ({', '.join(sizes)})"


def _dtype(data_type: int) -> str:
    return helper.tensor_dtype_to_np_dtype(data_type).name


def _count(tensor: TensorProto) -> int:
    return math.prod(tensor.dims)
