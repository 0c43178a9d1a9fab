"""Golden samples on the verifying device: correct ones pass, wrong ones are named."""

import json
from pathlib import Path

import onnx
import pytest

from export.errors import ModelError
from export.proof.golden import KEY, golden_differences

RELEASED = Path("models/fashion_lenet/model.onnx")


@pytest.fixture
def proto() -> onnx.ModelProto:
    return onnx.load(RELEASED)


def test_the_released_model_s_come_out_right(proto: onnx.ModelProto) -> None:
    assert golden_differences(proto) == []


@pytest.mark.parametrize("index", [0, 9])
@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_one_that_is_off_is_named(proto: onnx.ModelProto, index: int, error: float) -> None:
    (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
    content = json.loads(entry.value)
    content["logits"][index][3] += error
    entry.value = json.dumps(content)
    (difference,) = golden_differences(proto)
    assert difference.startswith("its golden samples come out wrong: a logit is off by ")
    assert difference.endswith(f"expected at most {content['tolerance']:.3g}")


@pytest.mark.parametrize("text", ["[]", "{", '{"images": "AA=="}'])
def test_others_than_export_writes_are_one_error(proto: onnx.ModelProto, text: str) -> None:
    (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
    entry.value = text
    with pytest.raises(ModelError, match="the model's metadata golden_samples cannot be read"):
        golden_differences(proto)


def test_a_model_without_any_has_none_to_check(proto: onnx.ModelProto) -> None:
    del proto.metadata_props[:]
    assert golden_differences(proto) == []
