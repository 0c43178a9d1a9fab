"""What the service answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic takes typing's own only from Python 3.12 on

from service.model import Model


class ModelName(TypedDict):
    """Which model answered."""

    name: str
    version: str


class Classification(TypedDict):
    """What a picture shows."""

    label: str  # the class's name
    class_id: int  # the class's index, as in the data set
    confidence: float  # the label's probability
    probabilities: dict[str, float]  # every class's, by name; their sum is 1
    model: ModelName


def classification(model: Model, probabilities: NDArray[np.float32]) -> Classification:
    """Turn one picture's probabilities (K,) into an answer."""
    values: list[float] = probabilities.tolist()
    class_id = int(probabilities.argmax())
    return {
        "label": model.labels[class_id],
        "class_id": class_id,
        "confidence": values[class_id],
        "probabilities": dict(zip(model.labels, values, strict=True)),
        "model": {"name": model.name, "version": model.version},
    }


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write an answer as JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
