"""A network from an import string, with weights from a file."""

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from export.errors import NetworkError
from export.network.input_format import InputFormat
from export.network.loading import build, load_weights, network, with_weights
from tests.export.network import factories

HERE = "tests.export.network.factories"
FORMAT = InputFormat.of((3, 8, 8))


def refusal(function: object, *arguments: object) -> str:
    with pytest.raises(NetworkError) as caught:
        function(*arguments)  # type: ignore[operator]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_factory_is_called_with_the_arguments() -> None:
    found = build(f"{HERE}:small", {"classes": 5})
    assert isinstance(found, nn.Sequential)
    assert found[-1].out_features == 5


def test_a_module_of_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_net.py").write_text(
        "from torch import nn\n\n\nclass Nets:\n    tiny = nn.Identity\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["elsewhere"])
    assert isinstance(build("my_own_net:Nets.tiny", {}), nn.Identity)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet18", "--network resnet18: expected MODULE:FACTORY, such as "),
        ("no_such_package:f", "there is no module no_such_package: name one that is "),
        (f"{HERE}.deeper:f", f"there is no module {HERE}.deeper: "),
        (f"{HERE}:missing", f"module {HERE} has no attribute missing"),
        (f"{HERE}:NOT_CALLABLE", f"{HERE}:NOT_CALLABLE is an int: expected a function or class"),
        (f"{HERE}:fails", f"{HERE}:fails() raises ValueError: no luck"),
        (f"{HERE}:no_module", f"{HERE}:no_module returns a list: expected a torch.nn.Module"),
    ],
)
def test_what_is_no_factory(text: str, message: str) -> None:
    assert refusal(build, text, {}).startswith(message)


def test_arguments_that_do_not_fit() -> None:
    text = refusal(build, f"{HERE}:small", {"colour": "red"})
    assert text.startswith(f"{HERE}:small(colour='red') raises TypeError: ")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import not_installed_here", "raises ModuleNotFoundError: No module named 'not_"),
        ("1 / 0", "raises ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{len(message)}"
    (tmp_path / f"{name}.py").write_text(f"{code}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert f"importing {name} {message}" in refusal(build, f"{name}:f", {})


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_come_as_they_were_written(suffix: str, tmp_path: Path) -> None:
    trained, path = factories.small(), tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": trained.state_dict()}, path)
    else:
        safetensors.torch.save_file(trained.state_dict(), path)
    found = with_weights(factories.small(), load_weights(path), path)
    assert not found.training
    for key, value in trained.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


def test_wrappers_are_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    wrapped = nn.DataParallel(factories.small())
    torch.save(wrapped.state_dict(), path)
    assert set(load_weights(path)) == set(factories.small().state_dict())
    inner = network(
        torch.compile(nn.DataParallel(factories.small()).eval(), backend="eager"), FORMAT
    ).module
    assert type(inner) is nn.Sequential


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("was-run",)


@pytest.mark.parametrize("content", [factories.small(), Malicious()])
def test_a_pickled_module_is_not_loaded(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "net.pt")
    text = refusal(load_weights, Path("net.pt"))
    assert text == (
        "net.pt holds pickled Python objects, which are never loaded: expected a state dict, "
        "which torch.save(model.state_dict(), PATH) writes"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


def test_what_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    assert refusal(load_weights, path).startswith(f"{path} is not a file: name a state dict")
    torch.save({"epoch": 1, "best": 0.5}, path)
    assert refusal(load_weights, path).startswith(f"{path} holds the keys epoch, best: expected a")
    torch.save(torch.ones(3), path)
    assert refusal(load_weights, path).startswith(f"{path} holds a Tensor: expected a state dict")
    path.write_bytes(b"nothing")
    assert refusal(load_weights, path).startswith(f"{path} ")
    other = tmp_path / "w.safetensors"
    other.write_bytes(b"nothing")
    assert "is not a complete safetensors file" in refusal(load_weights, other)


def test_all_that_does_not_fit_is_told() -> None:
    weights = dict(factories.small(classes=4).state_dict())
    del weights["1.running_mean"], weights["0.weight"]
    weights["head.weight"] = torch.ones(1)
    assert refusal(with_weights, factories.small(), weights, Path("w.pt")) == (
        "w.pt does not fit the network: it lacks 0.weight, 1.running_mean; it has unexpected "
        "head.weight; it has 5.weight of shape (4, 4), expected (3, 4), 5.bias of shape (4,), "
        "expected (3,)"
    )


def test_many_keys_are_counted() -> None:
    text = refusal(with_weights, factories.small(), {}, Path("w.pt"))
    assert text.endswith(" and 3 more")


def test_a_network_is_a_copy_in_float32() -> None:
    module = factories.small().double().eval()
    found = network(module, FORMAT)
    assert found.num_classes == 3
    assert next(found.module.parameters()).dtype == torch.float32
    assert next(module.parameters()).dtype == torch.float64


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (factories.Returning("dict"), "the network returns a dict: expected one tensor"),
        (factories.Returning("tuple"), "the network returns a tuple: expected one tensor"),
        (factories.Returning("map"), "returns torch.float32 (2, 3, 8, 8): expected logits (2, K)"),
        (factories.Returning("one class"), "returns torch.float32 (2, 1): expected logits (2, K)"),
        (factories.Returning("integers"), "returns torch.int64 (2, 3): expected logits (2, K)"),
        (factories.TwoInputs(), "the network cannot compute images of 3x8x8 (--image): TypeError"),
        (factories.small(channels=1), "the network cannot compute images of 3x8x8 (--image): Run"),
    ],
)
def test_what_is_no_classifier_of_such_images(module: nn.Module, message: str) -> None:
    assert message in refusal(network, module.eval(), FORMAT)


def test_train_mode_and_weights_that_are_no_numbers() -> None:
    module = factories.small()
    assert refusal(network, module, FORMAT).startswith("the network is in train mode, ")
    module.eval()[1].train()
    assert refusal(network, module, FORMAT).startswith("layer 1 is in train mode, ")
    module.eval()[0].weight.data[0] = torch.nan
    assert refusal(network, module, FORMAT).startswith("the network's 0.weight is not finite")
