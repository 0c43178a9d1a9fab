"""Read any `model.onnx`, and check that it takes images and gives logits and probabilities."""

from collections.abc import Iterable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, ValueInfoProto

from export.errors import ModelError


def parse_model(content: bytes, path: Path) -> onnx.ModelProto:
    """Return a parsed model after onnx's own check; path is for messages.

    Raises:
        ModelError: it is not an ONNX model, or it is incomplete or invalid.
    """
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelError(
            f"{path} is not a complete ONNX model ({error}): export it again, or fetch it again"
        ) from error
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{path} is not a valid ONNX model: {error}") from error
    return proto


def read_bytes(path: Path) -> bytes:
    """Return the content of a model file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; name a model.onnx"
        ) from error


def check_interface(found: onnx.ModelProto, right: onnx.ModelProto, path: Path) -> None:
    """Check that a model has the refolded model's inputs and outputs, by name, type and shape.

    Raises:
        ModelError: they differ.
    """
    weights = {tensor.name for tensor in found.graph.initializer}
    inputs = [value for value in found.graph.input if value.name not in weights]
    for verb, have, want in (
        ("takes", inputs, right.graph.input),
        ("gives", found.graph.output, right.graph.output),
    ):
        if describe_values(have) != describe_values(want):
            raise ModelError(
                f"{path} {verb} {describe_values(have)}; a model of this checkpoint's network "
                f"{verb} {describe_values(want)}"
            )


def describe_values(values: Iterable[ValueInfoProto]) -> str:
    """Return inputs or outputs as "image UINT8 (?, 1, 28, 28)"; "?" is a free dimension."""
    return ", ".join(map(_describe, values)) or "nothing"


def _describe(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = [
        str(d.dim_value) if d.WhichOneof("value") == "dim_value" else "?" for d in tensor.shape.dim
    ]
    return f"{value.name} {TensorProto.DataType.Name(tensor.elem_type)} ({', '.join(sizes)})"
