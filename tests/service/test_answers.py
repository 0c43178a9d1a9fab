"""What is answered for probabilities that are given."""

import numpy as np
import pytest

from service.answers import classification
from service.model import Model, load_model
from service.settings import ServiceSettings


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(ServiceSettings(device="cpu"))


def test_the_label_is_the_most_probable_class(model: Model) -> None:
    probabilities = np.full(10, 0.0625, np.float32)
    probabilities[7] = 0.4375
    assert classification(model, probabilities) == {
        "label": "Sneaker",
        "class_id": 7,
        "confidence": 0.4375,
        "probabilities": {
            label: 0.4375 if label == "Sneaker" else 0.0625 for label in model.labels
        },
        "model": {"name": model.name, "version": model.version},
    }


def test_of_equals_the_first_class_is_named(model: Model) -> None:
    assert classification(model, np.full(10, 0.1, np.float32))["class_id"] == 0


def test_numbers_are_pythons_own(model: Model) -> None:
    answer = classification(model, np.full(10, 0.1, np.float32))
    assert type(answer["class_id"]) is int
    assert {type(value) for value in answer["probabilities"].values()} == {float}
