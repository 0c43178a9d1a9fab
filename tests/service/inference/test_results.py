"""What is answered for probabilities that are given."""

import json

import numpy as np
import pytest

from service.inference.results import classification, predictions, shortest
from service.preprocessing.pipeline import UNCHANGED, Preprocessing
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(ServiceSettings(device="cpu"))


PHOTO: Preprocessing = {"mode": "photo", "negated": True, "trimmed": False}


def test_the_label_is_the_most_probable_class(model: OnnxModel) -> None:
    probabilities = np.full(10, 0.0625, np.float32)
    probabilities[7] = 0.4375
    assert classification(model, probabilities, PHOTO) == {
        "label": "Sneaker",
        "class_id": 7,
        "confidence": 0.4375,
        "probabilities": {
            label: 0.4375 if label == "Sneaker" else 0.0625 for label in model.labels
        },
        "preprocessing": PHOTO,
        "model": {"name": model.name, "version": model.version},
    }


def test_of_equals_the_first_class_is_named(model: OnnxModel) -> None:
    assert classification(model, np.full(10, 0.1, np.float32), UNCHANGED)["class_id"] == 0


def test_numbers_are_pythons_own(model: OnnxModel) -> None:
    answer = classification(model, np.full(10, 0.1, np.float32), UNCHANGED)
    assert type(answer["class_id"]) is int
    assert {type(value) for value in answer["probabilities"].values()} == {float}


def test_numbers_are_written_with_the_fewest_digits_of_float32(model: OnnxModel) -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(10), 100).astype(np.float32)
    for row in values:
        found = list(classification(model, row, UNCHANGED)["probabilities"].values())
        assert list(map(float, map(str, row))) == found
        np.testing.assert_array_equal(np.array(found, np.float32), row)
    several = np.array(predictions(model, values)["probabilities"])
    np.testing.assert_array_equal(several.astype(np.float32), values)
    assert json.dumps(shortest(np.array([[0.1, 1 / 3]], np.float32))) == "[[0.1, 0.33333334]]"


def test_the_most_probable_come_first_and_of_equals_the_first(model: OnnxModel) -> None:
    probabilities = np.array([0, 0.25, 0, 0.125, 0, 0.5, 0, 0.125, 0, 0], np.float32)
    answer = classification(model, probabilities, UNCHANGED, top_k=3)
    assert list(answer["probabilities"].items()) == [
        ("Sandal", 0.5),
        ("Trouser", 0.25),
        ("Dress", 0.125),
    ]
    assert answer["label"] == "Sandal"
    assert len(classification(model, probabilities, UNCHANGED, top_k=10)["probabilities"]) == 10
