"""A user's network, from the command line and from Python: exported and proved, or rejected."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from export import export_network
from export.__main__ import main
from export.errors import EquivalenceError, ExportError, FoldError, GraphError, NetworkError
from export.onnx_file.emission import EmittedModel, emit
from service.runtime.metadata import ModelMetadata

FACTORIES = "tests.export.test_network_export"
SHAPE = (3, 12, 10)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Block(nn.Module):
    """A residual block whose second batch norm no layer can take, and a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, classes)

    def forward(self, X: Tensor) -> Tensor:
        Y = torch.relu(self.norm(self.conv(X)))
        Y = torch.relu(self.last(Y + self.second(Y)))
        return self.head(Y.mean((2, 3)))


def block(classes: int = 4) -> nn.Module:
    return Block(classes)


class Sorting(nn.Module):
    def forward(self, X: Tensor) -> Tensor:
        return torch.sort(X.flatten(1), 1).values[:, :3]


def sorting() -> nn.Module:
    return Sorting()


class Branching(nn.Module):
    def forward(self, X: Tensor) -> Tensor:
        return X.flatten(1)[:, :3] if X.sum() > 0 else X.flatten(1)[:, 3:6]


def branching() -> nn.Module:
    return Branching()


def trained(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = block()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(16, *SHAPE))
        for norm in (model.norm, model.last):
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (24, *SHAPE), generator=generator, dtype=torch.uint8)


@pytest.fixture
def files(tmp_path: Path, images: Tensor) -> tuple[Path, Path]:
    """Weights, and images with labels."""
    weights, data = tmp_path / "weights.safetensors", tmp_path / "data.npz"
    save_file(trained().state_dict(), weights)
    np.savez(data, images=images.numpy(), labels=np.arange(24) % 4)
    return weights, data


def arguments(weights: Path, data: Path, out: Path, *more: str) -> list[str]:
    found = [str(weights), "--network", f"{FACTORIES}:block", "--image", "3x12x10"]
    return [*found, "--data", str(data), "--out", str(out), *more]


def test_the_command_writes_a_proved_model_that_the_service_reads(
    files: tuple[Path, Path], images: Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models" / "blocks" / "model.onnx"
    more = ("--mean", "0.4,0.5,0.6", "--std", "0.2,0.25,0.3", "--preprocessing", "center-crop")
    assert main(arguments(*files, out, *more)) == 0
    said = capsys.readouterr().out
    assert "1 batch norms folded, 1 left as affine maps" in said
    assert "last stays as one affine map a channel: it follows the function add" in said
    assert f"proved equal; wrote {out}" in said
    assert sorted(path.name for path in out.parent.iterdir()) == ["equivalence.json", "model.onnx"]
    proof = json.loads((out.parent / "equivalence.json").read_text())
    assert (proof["verdict"], proof["batch_norms"]["folded"]) == ("PASS", 1)
    assert proof["graph"]["error"] < 1e-12

    session = ort.InferenceSession(out, providers=["CPUExecutionProvider"])
    metadata = ModelMetadata.read(session)
    assert (metadata.name, metadata.signature.labels) == ("blocks", ("0", "1", "2", "3"))
    assert (metadata.signature.image.pipeline, metadata.signature.image.resize) == (
        "center-crop",
        14,
    )
    assert metadata.golden.images.shape == (4, *SHAPE)
    (logits,) = session.run(["logits"], {"image": images.numpy()})
    one_each = (3, 1, 1)
    mean, std = (torch.tensor(values).double().reshape(one_each) for values in (MEAN, STD))
    with torch.no_grad():
        exact = trained().double()((images.double() / 255 - mean) / std)
    np.testing.assert_allclose(logits, exact.numpy(), rtol=0, atol=1e-4)

    model = onnx.load(out)
    assert [node.name for node in model.graph.node] == [
        *("pixels", "sub", "conv", "relu", "second", "add", "last", "relu_1"),
        *("reducemean", "head", "softmax"),
    ]
    assert not any(str(tmp_path) in entry.value for entry in model.metadata_props)


def test_from_python_as_from_the_command_line(
    files: tuple[Path, Path], images: Tensor, tmp_path: Path
) -> None:
    first, second = tmp_path / "a" / "model.onnx", tmp_path / "b" / "model.onnx"
    assert main(arguments(*files, first)) == 0
    proof = export_network(trained(), images, out=second, labels=list("wxyz"))
    assert (proof.folded, len(proof.folding)) == (1, 1)
    one, other = onnx.load(first), onnx.load(second)
    assert one.graph == other.graph
    found = {entry.key: entry.value for entry in other.metadata_props}
    assert json.loads(found["labels"]) == ["w", "x", "y", "z"]
    assert json.loads(found["preprocessing"]) == {"pipeline": "resize"}


def test_a_wrong_model_is_not_written(
    images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def emit_wrongly(network: torch.fx.GraphModule) -> EmittedModel:
        with torch.no_grad():
            network.get_parameter("conv.weight")[0] *= 1.001
        return emit(network)

    monkeypatch.setattr("export.network_export.emit", emit_wrongly)
    with pytest.raises(EquivalenceError, match="A: in float64 its graph is off by"):
        export_network(trained(), images, out=tmp_path / "out" / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["--network", f"{FACTORIES}:nothing"], "has no attribute nothing"),
        (["--network", "no_such_module:f"], "no_such_module"),
        (["--arguments", '{"classes": "x"}'], "block(classes='x') raises TypeError"),
        (["--arguments", '{"classes": 5}'], "head.weight of shape (4, 6), expected (5, 6)"),
        (["--network", f"{FACTORIES}:sorting"], "does not fit the network: it has unexpected"),
        (["--image", "3x10x12"], "are 3x12x10: expected 3x10x12"),
        (["--mean", "0.1,0.2"], "mean 0.1,0.2 has 2 numbers: expected one, or one for each"),
        (["--preprocessing", "fashion-mnist"], "is for images of 1 channel, but the network takes"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    change: list[str],
    text: str,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out" / "model.onnx"
    given = arguments(*files, out)
    if change[0] in given:
        given[given.index(change[0]) + 1] = change[1]
    else:
        given += change
    assert main(given) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert text in error
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        (sorting().eval(), GraphError, "cannot be written as ONNX: the operator aten.sort.default"),
        (branching().eval(), FoldError, "branches on values of its input, and a graph has one way"),
        (block().train(), NetworkError, "is in train mode"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), NetworkError, "expected logits (2, K)"),
    ],
)
def test_a_network_that_cannot_be_exported_is_refused(
    model: nn.Module, error: type[ExportError], text: str, images: Tensor, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        export_network(model, images, out=tmp_path / "out" / "model.onnx")
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []
