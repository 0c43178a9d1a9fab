"""A model's golden samples on the device that computes it, as the service checks them."""

import base64
import json

import numpy as np
import onnx
import torch

from export.errors import ModelError
from export.onnx_file.emission import LOGITS
from export.onnx_file.outputs import OPTIMISATIONS, compute
from export.onnx_file.session import open_session

KEY = "golden_samples"


def golden_differences(proto: onnx.ModelProto) -> list[str]:
    """Return a message if a golden sample's logit is off by more than the model's tolerance.

    They run one by one and together, which a GPU computes in different ways.

    Raises:
        ModelError: ONNX Runtime cannot compute the model, or they are not as `python -m export`
            writes them.
    """
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(KEY)
    if text is None:
        return []
    shape = [axis.dim_value for axis in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    try:
        content = json.loads(text)
        pixels = np.frombuffer(base64.b64decode(content["images"]), np.uint8).reshape(-1, *shape)
        right = np.array(content["logits"], np.float64)  # (G, K)
        tolerance = float(content["tolerance"])
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(f"the model's metadata {KEY} cannot be read: {error}") from error
    images = torch.from_numpy(pixels.copy())  # (G, C, H, W)
    opened = open_session(proto.SerializeToString(), OPTIMISATIONS["default"])
    worst = 0.0
    for size in (1, len(images)):
        parts = [compute(opened, [LOGITS], part)[0] for part in torch.split(images, size)]
        off = float(np.abs(np.concatenate(parts) - right).max())
        worst = max(worst, off if np.isfinite(off) else float("inf"))
    if worst <= tolerance:
        return []
    return [
        f"its golden samples come out wrong: a logit is off by {worst:.3g}, expected at most "
        f"{tolerance:.3g}"
    ]
