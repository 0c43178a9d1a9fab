"""Results of the model, in the form that the service and the command line return."""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

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
    input: NotRequired[InputReport]  # if the input is monitored


class Predictions(TypedDict):
    """What images given as numbers show, in their order."""

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
    """Return the classifications of N images.

    Args:
        model: the model that computed the probabilities.
        images: (N, C, H, W), the model's input.
        probabilities: (N, K), of all classes.
        preprocessings: N, how each image was preprocessed.
        squared_shifts: N, or None if the input is not compared with the training set.
        top_k: as in `classification`.
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
    """Return the classification of one image.

    Args:
        model: the model that computed the probabilities.
        probabilities: (K,), of all classes.
        preprocessing: how the image was preprocessed.
        top_k: how many classes the result has, the most probable first; None for all, in the
            model's order.
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
    """Return the predictions for N images, of their probabilities (N, K)."""
    class_ids: list[int] = probabilities.argmax(axis=1).tolist()
    return {
        "probabilities": shortest(probabilities),
        "class_ids": class_ids,
        "labels": [model.labels[class_id] for class_id in class_ids],
    }


def shortest(values: NDArray[np.float32]) -> Any:
    """Return float32 values as nested lists of floats, with the fewest digits that identify them.

    Converted to float64, a float32 has up to 17 digits: 0.1 becomes 0.10000000149011612.
    """
    return orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))


def most_probable(probabilities: NDArray[np.float32], count: int) -> list[int]:
    """Return the classes with the count highest values (K,), highest first; ties as in argmax."""
    order: list[int] = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return order
