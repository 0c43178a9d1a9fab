"""A model's metadata: what is missing or wrong in it is named."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.settings import RELEASED_MODEL
from tests.service.models import LABELS, metadata, write_model
from tests.service.networks import SQUARE
from tests.service.runtime.spoiled_models import (
    golden,
    refused,
    settings,
)


@pytest.mark.parametrize("key", ["name", "version", "labels", "golden_samples"])
def test_missing_metadata_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(settings(write_model(tmp_path / "model.onnx", **{key: None})))
    assert str(caught.value) == (f"the model's metadata has no {key}: `python -m export` writes it")


BLANKS = base64.b64encode(bytes(3 * 28 * 28)).decode()


def statistics(**changes: Any) -> str:
    return json.dumps(json.loads(metadata()["input_statistics"]) | changes)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("labels", "no JSON", "JSONDecodeError: Expecting value"),
        ("labels", "7", "expected a list of names, got '7'"),
        ("labels", json.dumps("0123456789"), "expected a list of names"),
        ("labels", json.dumps(list(range(10))), "expected a list of names"),
        ("labels", json.dumps(["Bag"] * 10), "two classes have the same name"),
        ("golden_samples", "no JSON", "JSONDecodeError: Expecting value"),
        ("golden_samples", "[]", "TypeError"),
        ("golden_samples", "{}", "KeyError: 'images'"),
        ("golden_samples", golden(images="!"), "Error: "),
        ("golden_samples", golden(images="AAAA"), "cannot reshape array of size 3"),
        (
            "golden_samples",
            golden(images="", logits=[]),
            "it has 0 images and logits of shape (0,)",
        ),
        (
            "golden_samples",
            golden(logits=[[0.0] * 10] * 3),
            "10 images and logits of shape (3, 10)",
        ),
        ("golden_samples", golden(logits=[[0.0] * 9] * 10), "there are 10 labels"),
        ("golden_samples", golden(logits=[[float("nan")] * 10] * 10), "not a finite number"),
        ("golden_samples", golden(logits=[[float("inf")] * 10] * 10), "not a finite number"),
        ("golden_samples", golden(tolerance=None), "TypeError"),
        ("golden_samples", golden(tolerance="wide"), "could not convert string to float"),
        (
            "golden_samples",
            golden(tolerance=float("nan")),
            ", got nan",
        ),
        (
            "golden_samples",
            golden(tolerance=float("inf")),
            ", got inf",
        ),
        (
            "golden_samples",
            golden(tolerance=1e999),
            ", got inf",
        ),
        (
            "golden_samples",
            golden(tolerance=-1e-4),
            ", got -0.0001",
        ),
        (
            "golden_samples",
            golden(tolerance=1e308),
            ", got 1e+308",
        ),
        (
            "golden_samples",
            golden(tolerance=15.8),
            ", got 15.8",
        ),
        ("golden_samples", golden(tolerance=10**400), "OverflowError"),
        ("golden_samples", golden(logits=[[10**400] * 10] * 10), "OverflowError"),
        ("golden_samples", golden(logits=[[0] * 10] * 10), "a positive number of at most 0, got"),
        ("golden_samples", golden(logits=[[{}] * 10] * 10), "TypeError"),
        ("golden_samples", "[" * 100_000 + "]" * 100_000, "RecursionError"),
        ("golden_samples", golden(images=BLANKS * 334), "it has 1002 images"),
        ("golden_samples", golden(padding="a" * 2**26), "expected at most 67,108,864 characters"),
        ("labels", "[" * 100_000, "RecursionError"),
        ("labels", '{"a": ' * 100_000, "RecursionError"),
        (
            "labels",
            json.dumps([*LABELS[:9], "\ud800"]),
            r"it has '\ud800' in a name, which is not",
        ),
        (
            "labels",
            json.dumps([*LABELS[:9], "a\nb"]),
            r"it has '\n' in a name, which is not visible",
        ),
        (
            "labels",
            json.dumps([*LABELS[:9], "a\0b"]),
            r"it has '\x00' in a name, which is not visible",
        ),
        ("labels", json.dumps([*LABELS[:9], "\u202eb"]), r"it has '\u202e' in a name, which is"),
        ("labels", json.dumps([*LABELS[:9], ""]), "a name of 1 to 200 characters, got 0"),
        ("labels", json.dumps([*LABELS[:9], " "]), "a name of 1 to 200 characters, got 1"),
        ("labels", json.dumps([*LABELS[:9], "a" * 201]), "a name of 1 to 200 characters, got 201"),
        ("labels", json.dumps([*LABELS[:9], "a" * 10**7]), "expected at most 4,194,304 characters"),
        ("labels", "[NaN]", "expected a list of names"),
        ("labels", '["Bag"]', "expected at least 2 names, got 1"),
        ("preprocessing", "no JSON", "JSONDecodeError: Expecting value"),
        ("preprocessing", '"resize"', "expected an object with a pipeline, got"),
        ("preprocessing", "{}", 'expected {"pipeline": "fashion-mnist"}, {"pipeline": "resize"}'),
        ("preprocessing", '{"pipeline": "resize", "resize": 9}', 'expected {"pipeline": "fashion'),
        ("preprocessing", '{"pipeline": "center-crop"}', '"resize": PIXELS}, got '),
        (
            "preprocessing",
            '{"pipeline": "center-crop", "resize": 27}',
            "resize: expected 28 to 4,096, got 27",
        ),
        (
            "preprocessing",
            '{"pipeline": "center-crop", "resize": 4097}',
            "resize: expected 28 to 4,096, got 4097",
        ),
        ("name", "", "a name of 1 to 200 characters, got 0"),
        ("name", "a\x1b[2J", r"it has '\x1b' in a name"),
        ("name", "a" * 1000, "a name of 1 to 200 characters, got 1,000"),
        ("version", "1\n2", r"it has '\n' in a name"),
        ("version", "1" * 10**6, "a name of 1 to 200 characters, got 1,000,000"),
        ("input_statistics", "[" * 100_000, "RecursionError"),
        ("input_statistics", "NaN", "TypeError"),
        ("input_statistics", statistics(bias=[10**400] * 6), "OverflowError"),
        ("input_statistics", statistics(floor=10**400), "OverflowError"),
        (
            "input_statistics",
            statistics(window=1e308),
            "its window: expected at most 65536, got 1e+308",
        ),
        ("input_statistics", statistics(border=13), "its border: expected at most 11, got 13"),
        ("input_statistics", statistics(whitening=[[0.0] * 18] * 18), "LinAlgError: Singular"),
        ("input_statistics", statistics(mean=[1e300] * 18), "Error"),
        ("input_statistics", statistics(floor=1e300), "Error"),
        ("input_statistics", statistics(shift_limit=5e-324), "FloatingPointError"),
        (
            "golden_samples",
            golden(tolerance=0),
            ", got 0",
        ),
    ],
)
def test_broken_metadata_is_refused(tmp_path: Path, key: str, value: str, text: str) -> None:
    reason = refused(write_model(tmp_path / "model.onnx", **{key: value}))
    assert reason.startswith(f"the model's metadata {key} is not what `python -m export` writes: ")
    assert text in reason


def test_labels_for_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    logits = [row[:9] for row in json.loads(metadata()["golden_samples"])["logits"]]
    changes = {"golden_samples": golden(logits=logits), "labels": json.dumps(LABELS[:9])}
    assert refused(write_model(tmp_path / "model.onnx", **changes)) == (
        "the model's output is logits float (N, 10), probabilities float (N, 10), "
        "not logits float (N, 9), probabilities float (N, 9)"
    )


def test_another_onnx_model_is_refused(tmp_path: Path) -> None:
    nothing_known = dict.fromkeys(metadata())
    reason = refused(write_model(tmp_path / "model.onnx", **nothing_known))
    assert reason == "the model's metadata has no name: `python -m export` writes it"


def test_input_statistics_of_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    reason = refused(SQUARE.write(path, input_statistics=metadata()["input_statistics"]))
    assert reason.endswith(
        "ValueError: they are of images of shape (1, 28, 28), the model's have (1, 32, 32)"
    )


def test_metadata_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    content = RELEASED_MODEL.read_bytes()
    for text in (b"fashion_lenet", b"Ankle boot", b"input_statistics", b"probabilities"):
        path = tmp_path / "model.onnx"
        path.write_bytes(content.replace(text, b"\xff" + text[1:]))
        assert refused(path)
