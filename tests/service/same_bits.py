"""ONNX Runtime's results as the server gets them, and answers that are equal to the last bit."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

NAMES = ("logits", "probabilities")


def expected_outputs(
    session: ort.InferenceSession, images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Logits and probabilities, (N, 10) each, by their names."""
    return dict(zip(NAMES, session.run(NAMES, {"image": images}), strict=True))


def same_bits(answer: Any, images: NDArray[np.uint8], session: ort.InferenceSession) -> None:
    """Compare the answer of a client of Triton's with ONNX Runtime's results."""
    for name, expected in expected_outputs(session, images).items():
        found = answer.as_numpy(name)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
