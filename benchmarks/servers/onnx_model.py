"""The code that all peers share: Pillow, ONNX Runtime on one thread, the same answer."""

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

MODEL = Path(__file__).parents[2] / "models" / "fashion_lenet" / "model.onnx"


def open_session() -> ort.InferenceSession:
    """Open the released model on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


@cache
def labels() -> list[str]:
    """Read the classes' names, which the model carries."""
    names: list[str] = json.loads(open_session().get_modelmeta().custom_metadata_map["labels"])
    return names


def infer(session: ort.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities (N, 10) of images (N, 1, 28, 28)."""
    probabilities: NDArray[np.float32] = session.run(["probabilities"], {"image": images})[0]
    return probabilities


def classify(session: ort.InferenceSession, content: bytes) -> dict[str, Any]:
    """Answer for a PNG of 28 x 28 in grey."""
    return classify_image(session, Image.open(BytesIO(content)))


def classify_image(session: ort.InferenceSession, image: Image.Image) -> dict[str, Any]:
    """Answer for an opened picture."""
    pixels = np.asarray(image.convert("L"))  # (28, 28)
    values = infer(session, pixels[None, None])[0].tolist()  # (10,)
    best = max(range(len(values)), key=values.__getitem__)
    return {
        "label": labels()[best],
        "class_id": best,
        "confidence": values[best],
        "probabilities": dict(zip(labels(), values, strict=True)),
    }
