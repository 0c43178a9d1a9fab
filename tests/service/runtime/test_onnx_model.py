"""The released model loads and computes correctly; for others the error says what is wrong."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.runtime.repository import read_model
from service.settings import RELEASED_MODEL
from tests.service.models import (
    LABELS,
    computing_for_ever,
    metadata,
    with_wrong_golden_samples,
    write_model,
)
from tests.service.runtime.spoiled_models import (
    golden,
    refused,
    rename_the_input,
    settings,
    spoiled,
)
from tests.serving import ROOT, SERVE, start

REFUSAL_SECONDS = 600  # a last resort


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


def test_a_file_without_an_end_is_refused() -> None:
    assert refused(Path("/dev/zero")) == "the model /dev/zero is not a regular file"


def test_a_named_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is not a regular file"):
        read_model(tmp_path / "model.onnx")


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
        "set FASHION_MODEL to a model.onnx that `python -m export` wrote, or FASHION_MODELS to "
        "a folder of such models"
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
    return spoiled(folder, rename_the_input)


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
