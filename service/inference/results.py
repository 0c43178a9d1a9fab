"""What a model has found, as the service and the command line give it."""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes typing's own only from Python 3.12 on

from service.drift.report import InputReport, input_reports
from service.preprocessing.pipeline import Preprocessing
from service.runtime.onnx_model import OnnxModel


class ModelName(TypedDict):
    """Which model answered."""

    name: str
    version: str


class Classification(TypedDict):
    """What a picture shows."""

    label: Annotated[str, Field(description="the most probable class's name")]
    class_id: Annotated[int, Field(description="its index, as in the data set")]
    confidence: Annotated[float, Field(description="its probability")]
    probabilities: Annotated[dict[str, float], Field(description="by the classes' names")]
    preprocessing: Preprocessing
    model: ModelName
    input: NotRequired[InputReport]  # where there is a watchman


class Predictions(TypedDict):
    """What images of 28 x 28 show, in their order."""

    probabilities: Annotated[
        list[list[float]], Field(description="N x K, the classes in the model's order")
    ]
    class_ids: Annotated[list[int], Field(description="N, the most probable class's index")]
    labels: Annotated[list[str], Field(description="N, the most probable class's name")]


def classifications(
    model: OnnxModel,
    images: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    preprocessings: Sequence[Preprocessing],
    squared_shifts: Sequence[float] | None,
    top_k: int | None = None,
) -> list[Classification]:
    """Turn the probabilities of N pictures into answers.

    Args:
        model: found them.
        images: (N, 1, 28, 28), what it was given.
        probabilities: (N, K), of all classes.
        preprocessings: N, what was done to each picture.
        squared_shifts: N, or None where the input is not compared with the training set.
        top_k: as `classification` takes it.
    """
    answers = [
        classification(model, row, preprocessing, top_k)
        for row, preprocessing in zip(probabilities, preprocessings, strict=True)
    ]
    if model.input_statistics and squared_shifts is not None:
        inputs = input_reports(model.input_statistics, images[:, 0], squared_shifts)
        for answer, described in zip(answers, inputs, strict=True):
            answer["input"] = described
    return answers


def classification(
    model: OnnxModel,
    probabilities: NDArray[np.float32],
    preprocessing: Preprocessing,
    top_k: int | None = None,
) -> Classification:
    """Turn one picture's probabilities (K,) into an answer.

    Args:
        model: found them.
        probabilities: (K,), of all classes.
        preprocessing: what was done to the picture.
        top_k: how many classes the answer names, the most probable first; None for all of
            them, in the model's order.
    """
    values: list[float] = shortest(probabilities)
    class_id = int(probabilities.argmax())
    if top_k is None:
        named = dict(zip(model.labels, values, strict=True))
    else:
        named = {model.labels[k]: values[k] for k in most_probable(probabilities, top_k)}
    return {
        "label": model.labels[class_id],
        "class_id": class_id,
        "confidence": values[class_id],
        "probabilities": named,
        "preprocessing": preprocessing,
        "model": {"name": model.name, "version": model.version},
    }


def predictions(model: OnnxModel, probabilities: NDArray[np.float32]) -> Predictions:
    """Turn the probabilities (N, K) of N images into an answer."""
    class_ids: list[int] = probabilities.argmax(axis=1).tolist()
    return {
        "probabilities": shortest(probabilities),
        "class_ids": class_ids,
        "labels": [model.labels[class_id] for class_id in class_ids],
    }


def shortest(values: NDArray[np.float32]) -> Any:
    """Return values as nested lists of floats, written with the fewest digits that tell them apart.

    To a float64 its nearest float32 is a number of 17 digits: 0.1 becomes 0.10000000149011612.
    """
    return orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))


def most_probable(probabilities: NDArray[np.float32], count: int) -> list[int]:
    """Return classes by values (K,), the highest first; of equals the first first, like argmax."""
    order: list[int] = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return order
