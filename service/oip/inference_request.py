"""An inference request of the Open Inference Protocol, over HTTP or gRPC: its parts, checked.

Sources: the protocol's `inference_rest.md`, "Inference Request JSON Object", and
`inference_grpc.md`, "ModelInferRequest"; Triton's extension "Classification". Both transports
describe inputs and outputs by mappings with the JSON object's keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.http.json_body import JSON_TYPE_NAMES
from service.oip.json_tensors import Shape, image_shape, shorten
from service.oip.protocol import INPUT_DATATYPE, OUTPUTS
from service.runtime.signature import INPUT

# A client that sends binary tensors repeats the same head before them. Up to so many parsed heads
# are cached, each of at most so many bytes.
HEAD_CACHE_SIZE, HEAD_CACHE_BYTES = 128, 1024

INPUT_NAME = f"the input {INPUT!r}"  # in error messages


@dataclass(frozen=True)
class RequestedOutput:
    """An output that a client requests, and its form."""

    name: str
    binary: bool  # after the JSON, not in it
    classes: int | None = None  # so many top classes as text, instead of the tensor


class InferenceRequest(NamedTuple):
    """A parsed inference request."""

    identity: str | None
    images: NDArray[np.uint8]  # (N, C, H, W)
    outputs: Sequence[RequestedOutput]


def read_input(entry: Mapping[str, Any], image: Shape) -> tuple[int, ...]:
    """Return the shape (N, C, H, W) of a request's input.

    Args:
        entry: the input's name, datatype, shape and parameters.
        image: shape (C, H, W) of the images that the model takes.

    Raises:
        InvalidInput: the datatype or the shape is not the model's, or it is in shared memory.
    """
    datatype = required(entry, "datatype", str, INPUT_NAME)
    if datatype != INPUT_DATATYPE:
        raise InvalidInput(
            f"the datatype of {INPUT!r}: expected {INPUT_DATATYPE}, got {shorten(datatype)}"
        )
    shape = image_shape(required(entry, "shape", list, INPUT_NAME), image)
    _refuse_shared_memory(optional(entry, "parameters", dict, INPUT_NAME, {}), INPUT_NAME)
    return shape


def only_input(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a request's only input.

    Raises:
        InvalidInput: there are none, several, or one of another name.
    """
    names = [required(entry, "name", str, "an input") for entry in entries]
    if names != [INPUT]:
        raise InvalidInput(f"the inputs: expected one called {INPUT!r}, got {shorten(names)}")
    return entries[0]


def read_outputs(entries: Sequence[Mapping[str, Any]], binary: bool) -> Sequence[RequestedOutput]:
    """Return the requested outputs; without entries, all.

    Args:
        entries: each output's name and parameters.
        binary: whether an output without a `binary_data` parameter is binary.

    Raises:
        InvalidInput: an output does not exist or is requested twice, or a parameter is wrong.
    """
    if not entries:
        return all_outputs(binary)
    outputs = [_output(entry, binary) for entry in entries]
    names = [output.name for output in outputs]
    if len(set(names)) < len(names):
        raise InvalidInput(f"the outputs: expected each at most once, got {shorten(names)}")
    return outputs


def all_outputs(binary: bool) -> Sequence[RequestedOutput]:
    """Return the outputs of a request that names none."""
    return [RequestedOutput(name, binary) for name in OUTPUTS]


def _output(entry: Mapping[str, Any], binary: bool) -> RequestedOutput:
    name = required(entry, "name", str, "an output")
    if name not in OUTPUTS:
        raise InvalidInput(f"there is no output {shorten(name)}: there are {', '.join(OUTPUTS)}")
    where = f"the output {name!r}"
    parameters = optional(entry, "parameters", dict, where, {})
    _refuse_shared_memory(parameters, where)
    where = f"the parameters object of {name!r}"
    classes = optional(parameters, "classification", int, where, None)
    if classes is not None and classes < 1:
        raise InvalidInput(
            f"the classification of {name!r}: expected a number of classes, at least 1, got "
            f"{classes}"
        )
    return RequestedOutput(name, optional(parameters, "binary_data", bool, where, binary), classes)


def _refuse_shared_memory(parameters: Mapping[str, Any], where: str) -> None:
    if parameters.get("shared_memory_region") is not None:
        raise InvalidInput(
            f"{where} asks for shared memory, which is not served: leave out shared_memory_region"
        )


def required(content: Mapping[str, Any], key: str, kind: type[Any], where: str) -> Any:
    """Return the value of a key.

    Raises:
        InvalidInput: there is none, or it is of another type; where says whose key it is.
    """
    value = optional(content, key, kind, where, None)
    if value is None:
        raise InvalidInput(f"{where} has no {key}: expected {JSON_TYPE_NAMES[kind]}")
    return value


def optional(
    content: Mapping[str, Any], key: str, kind: type[Any], where: str, default: Any
) -> Any:
    """Return the value of a key, or default if there is none.

    Raises:
        InvalidInput: it is of another type; where says whose key it is.
    """
    # KServe's SDK sends null for a missing value. (`in` is not a call, unlike `get`.)
    value = content[key] if key in content else None  # noqa: SIM401
    if value is None:
        return default
    if type(value) is not kind:  # isinstance would accept true as an integer
        raise InvalidInput(
            f"{key} of {where}: expected {JSON_TYPE_NAMES[kind]}, got {shorten(value)}"
        )
    return value
