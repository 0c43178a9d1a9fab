"""The released model loads and computes what it should; any other says what is wrong with it."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from service.errors import ModelError
from service.model import load_model
from service.settings import RELEASED_MODEL, ServiceSettings
from tests.service.models import metadata, with_wrong_golden_samples, write_model

LABELS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def settings(model: Path = RELEASED_MODEL) -> ServiceSettings:
    return ServiceSettings(device="cpu", model=model)


def test_the_released_model_loads() -> None:
    model = load_model(settings())
    assert model.name == "fashion_lenet"
    assert re.fullmatch(r"\d+\.\d+\.\d+", model.version)
    assert model.labels == LABELS
    assert model.describe() == {
        "model": {"name": "fashion_lenet", "version": model.version},
        "device": "cpu",
        "execution_provider": "CPUExecutionProvider",
    }


def test_the_golden_samples_are_real_images_one_of_each_class(
    images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    golden = load_model(settings()).golden
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(10)]
    np.testing.assert_array_equal(golden.images[:, 0], images[first])
    assert golden.logits.shape == (10, 10)
    assert 1e-5 < golden.tolerance < 1e-3  # TF32 would be off by 1e-2


def test_probabilities_are_onnxruntimes_own(
    images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    model = load_model(settings())
    for count in (1, 7, 500):
        found = model.classify(images[:count, None])  # (N, 10)
        (expected,) = session.run(["probabilities"], {"image": images[:count, None]})
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=0, atol=1e-5)


def test_the_released_model_is_as_good_as_promised(
    images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    found = load_model(settings()).classify(images[:, None]).argmax(axis=1)
    assert (found == labels).mean() >= 0.915


def test_a_device_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(settings(with_wrong_golden_samples(tmp_path / "model.onnx")))
    assert str(caught.value) == (
        "the model's golden samples come out wrong on CPUExecutionProvider: a logit is off by "
        f"0.5, at most {load_model(settings()).golden.tolerance:g} is right"
    )


@pytest.mark.parametrize(("share", "right"), [(0.5, True), (1.5, False), (float("nan"), False)])
def test_the_tolerance_is_the_models_own(tmp_path: Path, share: float, right: bool) -> None:
    tolerance = load_model(settings()).golden.tolerance
    path = with_wrong_golden_samples(tmp_path / "model.onnx", share * tolerance)
    if right:
        load_model(settings(path))
        return
    with pytest.raises(ModelError, match="golden samples come out wrong"):
        load_model(settings(path))


@pytest.mark.parametrize("key", ["name", "version", "labels", "golden_samples"])
def test_missing_metadata_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(settings(write_model(tmp_path / "model.onnx", **{key: None})))
    assert str(caught.value) == (
        f"the model's metadata is not what `python -m export` writes: KeyError {key!r}"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "no JSON"),
        ("labels", "7"),
        ("labels", json.dumps(["only", "two"])),
        ("golden_samples", "no JSON"),
        ("golden_samples", "[]"),
        ("golden_samples", "{}"),
        ("golden_samples", json.dumps({"images": "!", "logits": [[0.0]], "tolerance": 1})),
        ("golden_samples", json.dumps({"images": "AAAA", "logits": [[0.0]], "tolerance": 1})),
        ("golden_samples", json.dumps({"images": "", "logits": [], "tolerance": 1e-4})),
    ],
)
def test_broken_metadata_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ModelError, match="metadata is not what `python -m export` writes"):
        load_model(settings(write_model(tmp_path / "model.onnx", **{key: value})))


def test_golden_logits_of_another_shape_are_refused(tmp_path: Path) -> None:
    golden = json.loads(metadata()["golden_samples"])
    golden["logits"] = golden["logits"][:3]
    path = write_model(tmp_path / "model.onnx", golden_samples=json.dumps(golden))
    with pytest.raises(ModelError) as caught:
        load_model(settings(path))
    assert str(caught.value).endswith(
        "golden_samples has 10 images and logits of shape (3, 10), there are 10 labels"
    )


def test_labels_for_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    golden = json.loads(metadata()["golden_samples"])
    golden["logits"] = [row[:9] for row in golden["logits"]]
    changes = {"golden_samples": json.dumps(golden), "labels": json.dumps(LABELS[:9])}
    with pytest.raises(ModelError) as caught:
        load_model(settings(write_model(tmp_path / "model.onnx", **changes)))
    assert str(caught.value) == "the model tells 10 classes apart, and its metadata names 9"


def test_another_onnx_model_is_refused(tmp_path: Path) -> None:
    nothing_known = dict.fromkeys(metadata())
    with pytest.raises(ModelError, match="metadata is not what `python -m export` writes"):
        load_model(settings(write_model(tmp_path / "model.onnx", **nothing_known)))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x01"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"the model is no ONNX model that can be run here"):
        load_model(settings(path))


def test_a_model_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(RELEASED_MODEL.read_bytes()[:-1000])
    with pytest.raises(ModelError):
        load_model(settings(path))


def test_a_missing_model_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "missing.onnx"
    with pytest.raises(ModelError) as caught:
        load_model(settings(path))
    assert str(caught.value) == (
        f"cannot read the model {path}: No such file or directory; "
        "set FASHION_MODEL to a model.onnx that `python -m export` wrote"
    )


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"cannot read the model {tmp_path}: Is a directory"):
        load_model(settings(tmp_path))
