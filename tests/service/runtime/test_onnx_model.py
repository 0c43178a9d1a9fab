"""The released model loads and computes correctly; for others the error says what is wrong."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.settings import RELEASED_MODEL, ServiceSettings
from tests.service.models import (
    computing_for_ever,
    metadata,
    with_wrong_golden_samples,
    write_model,
)
from tests.service.networks import NETWORKS, SQUARE, Network
from tests.serving import ROOT, SERVE, start

LABELS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


REFUSAL_SECONDS = 600  # a last resort


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
        "the model's golden samples come out wrong on CPUExecutionProvider, in a batch of 10: "
        f"a logit is off by 0.5, expected at most {load_model(settings()).golden.tolerance:g}"
    )


@pytest.mark.parametrize(("share", "right"), [(0.5, True), (1.5, False)])
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
    assert str(caught.value) == (f"the model's metadata has no {key}: `python -m export` writes it")


BLANKS = base64.b64encode(bytes(3 * 28 * 28)).decode()


def statistics(**changes: Any) -> str:
    return json.dumps(json.loads(metadata()["input_statistics"]) | changes)


def golden(**changes: Any) -> str:
    return json.dumps(json.loads(metadata()["golden_samples"]) | changes)


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


def refused(path: Path) -> str:
    """Return the error for a model that cannot be served, which must be one line."""
    with pytest.raises(ModelError) as caught:
        load_model(settings(path))
    (line,) = str(caught.value).splitlines()
    return line


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


def _rename_the_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "img"


def _take_floats(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _take_one_image_at_a_time(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def _take_a_second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N"]))


def _take_images_of_any_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"


def _rename_an_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[1].name = "softmax"


def _give_no_logits(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_rename_the_input, "input is img uint8 (N, 1, 28, 28), not image uint8 (N, C, H, W)"),
        (_take_floats, "input is image float (N, 1, 28, 28), not image uint8"),
        (_take_one_image_at_a_time, "input is image uint8 (1, 1, 28, 28), not image uint8 (N, C"),
        (_take_a_second_input, "input is image uint8 (N, 1, 28, 28), mask uint8 (N), not"),
        (_take_images_of_any_height, "input is image uint8 (N, 1, N, 28), not image uint8"),
        (_rename_an_output, "output is logits float (N, 10), softmax float (N, 10), not logits"),
        (_give_no_logits, "output is probabilities float (N, 10), not logits float (N, 10), prob"),
    ],
)
def test_other_inputs_and_outputs_are_refused(
    tmp_path: Path, spoil: Callable[[onnx.ModelProto], None], text: str
) -> None:
    assert f"the model's {text}" in refused(spoiled(tmp_path, spoil))


def test_images_of_two_channels_are_refused(tmp_path: Path) -> None:
    path = Network("two_channels", (2, 20, 30), 3).write(tmp_path / "model.onnx")
    assert refused(path) == (
        "the model's input is image uint8 (N, 2, 20, 30), expected image uint8 (N, C, H, W) with "
        "C = 1 or 3, H and W at most 4,096"
    )


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_shape_and_classes_are_the_files_own(tmp_path: Path, network: Network) -> None:
    model = load_model(settings(network.write(tmp_path / "model.onnx")))
    assert model.signature.image.shape == network.shape
    assert model.labels == tuple(network.labels)
    assert model.golden.images.shape == (4, *network.shape)
    assert model.classify(network.images(3)).shape == (3, network.classes)


def test_input_statistics_of_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    reason = refused(SQUARE.write(path, input_statistics=metadata()["input_statistics"]))
    assert reason.endswith(
        "ValueError: they are of images of shape (1, 28, 28), the model's have (1, 32, 32)"
    )


def spoiled(folder: Path, spoil: Callable[[onnx.ModelProto], None]) -> Path:
    """Write the released model with something changed in its graph."""
    model = onnx.load(RELEASED_MODEL)
    spoil(model)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _name_an_unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Convolve"


def _come_from_the_future(model: onnx.ModelProto) -> None:
    model.ir_version = 99  # ONNX Runtime says so in two lines


@pytest.mark.parametrize("spoil", [_name_an_unknown_operator, _come_from_the_future])
def test_what_onnxruntime_cannot_open_is_refused(
    tmp_path: Path, spoil: Callable[[onnx.ModelProto], None]
) -> None:
    reason = refused(spoiled(tmp_path, spoil))
    assert reason.startswith(
        "the model is not an ONNX model that can be run here: [ONNXRuntimeError]"
    )


def test_metadata_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    content = RELEASED_MODEL.read_bytes()
    for text in (b"fashion_lenet", b"Ankle boot", b"input_statistics", b"probabilities"):
        path = tmp_path / "model.onnx"
        path.write_bytes(content.replace(text, b"\xff" + text[1:]))
        assert refused(path)


def test_a_file_without_an_end_is_refused() -> None:
    assert refused(Path("/dev/zero")) == "the model /dev/zero is not a regular file"


def test_a_file_that_is_larger_than_any_onnx_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole, which takes no space
    assert refused(path) == (
        f"the model {path} has 2,147,483,648 bytes, 2,147,483,647 are the limit"
    )


def test_a_model_that_computes_for_ever_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.runtime.onnx_model.CHECK_SECONDS", 0.5)
    reason = refused(computing_for_ever(tmp_path / "model.onnx"))
    assert reason == (
        "the model cannot be run on CPUExecutionProvider: it was not done after 0.5 s"
    )


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x01"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"the model is not an ONNX model that can be run here"):
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


def _put_before_the_last_layer(
    model: onnx.ModelProto, node: onnx.NodeProto, constant: onnx.TensorProto
) -> None:
    last = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Gemm")
    node.input.extend([model.graph.node[last].input[0], constant.name])
    node.output.append("inserted")
    model.graph.node[last].input[0] = "inserted"
    model.graph.initializer.append(constant)
    model.graph.node.insert(last, node)


def test_what_opens_and_cannot_be_run_is_refused(tmp_path: Path) -> None:
    def ask_for_feature_99(model: onnx.ModelProto) -> None:
        features = helper.make_tensor("features", TensorProto.INT64, [84], [99] * 84)
        gather = helper.make_node("Gather", [], [], axis=1)
        _put_before_the_last_layer(model, gather, features)

    reason = refused(spoiled(tmp_path, ask_for_feature_99))
    assert reason.startswith("the model cannot be run on CPUExecutionProvider: [ONNXRuntimeError]")


def test_fewer_answers_than_images_are_refused(tmp_path: Path) -> None:
    def leave_out_the_second(model: onnx.ModelProto) -> None:
        wanted = helper.make_tensor("wanted", TensorProto.BOOL, [3], [True, False, True])
        compress = helper.make_node("Compress", [], [], axis=0)
        _put_before_the_last_layer(model, compress, wanted)

    assert refused(spoiled(tmp_path, leave_out_the_second)) == (
        "the logits of the model's golden samples: expected shape (10, 10), got (2, 10)"
    )


def test_logits_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    def diverge(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[0]
        spoilt = numpy_helper.to_array(weight).copy()
        spoilt[0] = np.nan
        weight.CopyFrom(numpy_helper.from_array(spoilt, weight.name))

    reason = refused(spoiled(tmp_path, diverge))
    assert "golden samples come out wrong on CPUExecutionProvider" in reason
    assert "a logit is off by nan" in reason


def _wrong_input(folder: Path) -> Path:
    return spoiled(folder, _rename_the_input)


def _no_metadata(folder: Path) -> Path:
    return write_model(folder / "model.onnx", **dict.fromkeys(metadata()))


def _cut_off(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(RELEASED_MODEL.read_bytes()[:-1000])
    return path


def _infinite_tolerance(folder: Path) -> Path:
    return write_model(folder / "model.onnx", golden_samples=golden(tolerance=float("inf")))


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_wrong_input, "the model's input is img uint8 (N, 1, 28, 28), not image uint8"),
        (_no_metadata, "the model's metadata has no name: `python -m export` writes it"),
        (_cut_off, "the model is not an ONNX model that can be run here: [ONNXRuntimeError]"),
        (_infinite_tolerance, "its tolerance: expected a positive number of at most"),
    ],
)
def test_a_server_whose_model_fails_its_check_says_why_in_one_line_and_exits(
    tmp_path: Path, spoil: Callable[[Path], Path], text: str
) -> None:
    model = spoil(tmp_path)
    server = start(tmp_path, SERVE, ROOT, {"FASHION_MODEL": str(model), "FASHION_DEVICE": "cpu"})
    try:
        assert server.process.wait(REFUSAL_SECONDS) == 1
    finally:
        server.process.kill()
    (line,) = server.log().splitlines()
    assert text in line
