"""A checkpoint is read as it was written, and any other file is rejected."""

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from training.errors import CheckpointError, RunError
from training.files.checkpoint import load_checkpoint, save_checkpoint
from training.networks.lenet import lenet_bn
from training.networks.resnet import resnet_bn

Tensors = dict[str, Tensor]


def trained(num_classes: int = 10) -> torch.nn.Sequential:
    model = lenet_bn(num_classes)
    model(torch.rand(32, 1, 28, 28))  # moves the statistics away from where they start
    return model


def test_tensors_and_metadata_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    model = trained().to(memory_format=torch.channels_last)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    save_checkpoint(path, model, {"recipe": "seed", "labels": '["é"]'})
    loaded = load_checkpoint(path)
    assert not loaded.model.training
    assert loaded.metadata == {"recipe": "seed", "labels": '["é"]'}
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, before[key])
        assert torch.equal(model.state_dict()[key], before[key])


def test_the_same_network_and_metadata_are_the_same_file(tmp_path: Path) -> None:
    network = lenet_bn()
    contents = set()
    for _ in range(20):  # safetensors itself orders metadata anew every time
        save_checkpoint(tmp_path / "c", network, {"recipe": "é", "seed": "0", "epochs": "1"})
        contents.add((tmp_path / "c").read_bytes())
    assert len(contents) == 1
    assert load_checkpoint(tmp_path / "c").metadata["recipe"] == "é"


def test_the_file_holds_exactly_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, trained(), {})
    assert safetensors.torch.load_file(path).keys() == lenet_bn().state_dict().keys()
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_the_classes_follow_the_last_layer(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, trained(7), {})
    assert load_checkpoint(path).model(torch.rand(1, 1, 28, 28)).shape == (1, 7)


def test_a_checkpoint_names_its_network(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, resnet_bn(7), {"network": "resnet_bn"})
    found = load_checkpoint(path)
    assert (found.network, found.num_classes) == ("resnet_bn", 7)
    assert found.model(torch.rand(1, 1, 28, 28)).shape == (1, 7)


def test_a_checkpoint_that_names_no_network_is_lenet(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, trained(), {})
    assert load_checkpoint(path).network == "lenet_bn"


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, trained(), {"network": "vgg"})
    message = "has the network 'vgg': expected one of lenet_bn, resnet_bn"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def _remove_one(tensors: Tensors) -> None:
    del tensors["5.moving_var"]


def _remove_last(tensors: Tensors) -> None:
    del tensors["15.weight"]


def _add_one(tensors: Tensors) -> None:
    tensors["16.weight"] = torch.zeros(1)


def _reshape_one(tensors: Tensors) -> None:
    tensors["1.gamma"] = tensors["1.gamma"].flatten()


def _halve_one(tensors: Tensors) -> None:
    tensors["9.bias"] = tensors["9.bias"].half()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove_one, "is not lenet_bn: 5.moving_var is missing"),
        (_remove_last, "is not lenet_bn: it has no tensor '15.weight'"),
        (_add_one, "is not lenet_bn: 16.weight does not belong"),
        (_reshape_one, "is not lenet_bn: 1.gamma has shape (6,), not (1, 6, 1, 1)"),
        (_halve_one, "is not lenet_bn: 9.bias is torch.float16, not torch.float32"),
    ],
)
def test_another_network_is_told_apart(
    tmp_path: Path, change: Callable[[Tensors], None], message: str
) -> None:
    path = tmp_path / "other.safetensors"
    tensors = dict(trained().state_dict())
    change(tensors)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert message in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    tensors = dict(trained().state_dict())
    for change in (_remove_one, _add_one, _reshape_one):
        change(tensors)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value).count(";") == 2


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_cut_off_is_no_checkpoint(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, trained(), {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        load_checkpoint(path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(trained().state_dict(), path)
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        load_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="absent is not a file"):
        load_checkpoint(tmp_path / "absent")


def test_a_failed_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, trained(), {"seed": "1"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.files.atomic_write.os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*: No space left on device"):
        save_checkpoint(path, trained(), {"seed": "2"})
    assert load_checkpoint(path).metadata == {"seed": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.parametrize("length", range(8))
def test_tensors_begin_at_a_multiple_of_eight_bytes(tmp_path: Path, length: int) -> None:
    """As the format requires, so that they can be memory-mapped."""
    save_checkpoint(tmp_path / "c", trained(), {"recipe": "x" * length})
    header = int.from_bytes((tmp_path / "c").read_bytes()[:8], "little")
    assert header % 8 == 0
