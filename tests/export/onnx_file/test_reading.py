"""Reading a model of anyone's."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from export.errors import ModelError
from export.onnx_file.reading import check_interface, parse_model, read_bytes

PATH = Path("some/model.onnx")
IMAGE = ("image", TensorProto.UINT8, ["N", 1, 28, 28])
LOGITS = ("logits", TensorProto.FLOAT, ["N", 10])
PROBABILITIES = ("probabilities", TensorProto.FLOAT, ["N", 10])


def test_a_right_model_is_read_as_it_is(folded_model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(folded_model.SerializeToString())
    found = parse_model(read_bytes(path), path)
    assert found == folded_model
    check_interface(found, folded_model, path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.onnx"):
        with pytest.raises(ModelError, match=f"cannot read the model {path}: .*; name a model"):
            read_bytes(path)


@pytest.mark.parametrize("content", [b"no model at all", b"\xff" * 1000])
def test_a_file_that_is_no_model(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"some/model.onnx is not a complete ONNX model \("):
        parse_model(content, PATH)


def test_a_model_cut_short(folded_model: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match=r"some/model.onnx is not a complete ONNX model \("):
        parse_model(folded_model.SerializeToString()[:-1000], PATH)


def test_an_empty_file() -> None:
    with pytest.raises(ModelError, match=r"some/model.onnx is not a valid ONNX model: "):
        parse_model(b"", PATH)


def test_a_graph_that_does_not_hang_together(folded_model: onnx.ModelProto) -> None:
    folded_model.graph.node[2].input[0] = "from nowhere"
    with pytest.raises(ModelError, match=r"is not a valid ONNX model: .*from nowhere"):
        parse_model(folded_model.SerializeToString(), PATH)


def model(
    inputs: list[tuple[str, int, list[str | int]]], outputs: list[tuple[str, int, list[str | int]]]
) -> onnx.ModelProto:
    values = [
        [helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)
    ]
    return helper.make_model(helper.make_graph([], "graph", *values))


RIGHT = model([IMAGE], [LOGITS, PROBABILITIES])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            model([("input.1", TensorProto.FLOAT, ["N", 1, 28, 28])], [LOGITS, PROBABILITIES]),
            "takes input.1 FLOAT (?, 1, 28, 28); a model of this checkpoint's network takes image "
            "UINT8 (?, 1, 28, 28)",
        ),
        (
            model([("image", TensorProto.UINT8, [1, 1, 28, 28])], [LOGITS, PROBABILITIES]),
            "takes image UINT8 (1, 1, 28, 28); a model of",
        ),
        (model([IMAGE], [LOGITS]), "gives logits FLOAT (?, 10); a model of this checkpoint's "),
        (model([], [LOGITS, PROBABILITIES]), "takes nothing; a model of this checkpoint's network"),
        (
            model([IMAGE], [("logits", TensorProto.FLOAT, ["N", 3]), PROBABILITIES]),
            "gives logits FLOAT (?, 3), probabilities FLOAT (?, 10); a model of",
        ),
    ],
)
def test_another_interface(wrong: onnx.ModelProto, text: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_interface(wrong, RIGHT, PATH)
    assert str(caught.value).startswith(f"{PATH} {text}")


def test_names_of_free_dimensions_and_weights_among_the_inputs_do_not_matter() -> None:
    found = model([("image", TensorProto.UINT8, ["batch", 1, 28, 28])], [LOGITS, PROBABILITIES])
    check_interface(found, RIGHT, PATH)
    found.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    found.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3]))
    check_interface(found, RIGHT, PATH)
