"""The signature of a model's file: its inputs and outputs, checked, and what its metadata adds."""

from collections.abc import Sequence

import onnxruntime as ort

from service.errors import ModelError
from service.signature import CHANNELS, LONGEST_SIDE

INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"
EXPECTED_INPUT = f"{INPUT} uint8 (N, C, H, W)"


def image_shape(session: ort.InferenceSession) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of a model's images.

    Raises:
        ModelError: its input is not one `image`, uint8 (N, C, H, W), where N has any length, C is 1
            or 3, and H and W are fixed.
    """
    inputs = _described(session.get_inputs())
    shape = tuple(session.get_inputs()[0].shape[1:]) if len(inputs) == 1 else ()
    described = ", ".join(map(str, shape))
    fixed = all(isinstance(axis, int) for axis in shape)
    if not fixed or len(shape) != 3 or inputs != [f"{INPUT} uint8 (N, {described})"]:
        raise ModelError(
            f"the model's input is {', '.join(inputs) or 'missing'}, not {EXPECTED_INPUT}"
        )
    channels, height, width = shape
    if channels not in CHANNELS or not all(1 <= axis <= LONGEST_SIDE for axis in shape[1:]):
        raise ModelError(
            f"the model's input is {inputs[0]}, expected {EXPECTED_INPUT} with C = "
            f"{' or '.join(map(str, CHANNELS))}, H and W at most {LONGEST_SIDE:,}"
        )
    return channels, height, width


def check_outputs(session: ort.InferenceSession, classes: int) -> None:
    """Check that a model's outputs are logits and probabilities, float (N, K).

    Raises:
        ModelError: they are not.
    """
    expected = [f"{output} float (N, {classes})" for output in (LOGITS, PROBABILITIES)]
    found = _described(session.get_outputs())
    if found != expected:
        raise ModelError(
            f"the model's output is {', '.join(found) or 'missing'}, not {', '.join(expected)}"
        )


def _described(values: Sequence[ort.NodeArg]) -> list[str]:
    """Return each input or output as `name type (shape)`; N is an axis of any length.

    Raises:
        ModelError: a name is not UTF-8.
    """
    try:
        return [
            f"{value.name} {value.type.removeprefix('tensor(').removesuffix(')')} {_shape(value)}"
            for value in values
        ]
    except UnicodeDecodeError as error:
        raise ModelError(
            f"a name of the model's inputs or outputs is not UTF-8: {error}"
        ) from error


def _shape(value: ort.NodeArg) -> str:
    return f"({', '.join(str(n) if isinstance(n, int) else 'N' for n in value.shape)})"
