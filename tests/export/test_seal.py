"""`python -m export seal`: anyone's ONNX file becomes one that is served, or nothing is written."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from export.__main__ import main
from service.runtime.onnx_model import open_model
from tests.export.verification import networks
from tests.export.verification.networks import (
    FORMAT,
    MUTATIONS,
    SHAPE,
    FromBytes,
    change_convolution,
    export_by_torch,
    pictures,
    trained,
)
from tests.serving import serving

HERE = "tests.export.test_seal"
LABELS = ["ant", "bee", "cat", "dog", "eel", "fox"]


class Views(nn.Module):
    """A network whose file has the batch's size in its reshapes, where it is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.fc = nn.Linear(8 * 9 * 9, 6)

    def forward(self, X: Tensor) -> Tensor:
        Y = self.conv(X)  # (N, 8, 9, 9)
        Y = torch.relu(Y.reshape(Y.shape[0], 8, 81))
        return self.fc(Y.reshape(Y.shape[0], -1))


class PixelsFirst(Views):
    """A network that moves the images behind the pixels, so that a fixed batch cannot be freed."""

    def forward(self, X: Tensor) -> Tensor:
        Y = torch.relu(self.conv(X)).permute(2, 3, 0, 1).reshape(81, X.shape[0] * 8)
        return self.fc(Y.reshape(81, X.shape[0], 8).permute(1, 2, 0).flatten(1))


def views() -> nn.Module:
    return Views()


def pixels_first() -> nn.Module:
    return PixelsFirst()


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def write(folder: Path, model: nn.Module, path: Path, **how: object) -> nn.Module:
    """Write a network's weights, its images and torch's ONNX file; return the network."""
    torch.save(model.state_dict(), folder / "w.pt")
    np.savez(folder / "d.npz", images=pictures(24).numpy(), labels=np.arange(24) % 6)
    (folder / "labels.txt").write_text("\n".join(LABELS))
    export_by_torch(model, path, **how)  # type: ignore[arg-type]
    return model


def arguments(folder: Path, network: str, **changes: str) -> list[str]:
    options = {
        "network": network,
        "image": "x".join(map(str, SHAPE)),
        "data": str(folder / "d.npz"),
        "mean": "0.5,0.4,0.3",
        "std": "0.2,0.25,0.3",
        "labels": str(folder / "labels.txt"),
        "out": str(folder / "sealed" / "model.onnx"),
    }
    given = [text for key, value in (options | changes).items() for text in (f"--{key}", value)]
    return ["seal", str(folder / "m.onnx"), str(folder / "w.pt"), *given]


def change(path: Path, edit: Callable[[onnx.ModelProto], None]) -> None:
    proto = onnx.load(path)
    edit(proto)
    onnx.save(proto, path)


def our_names(proto: onnx.ModelProto) -> None:
    """Give input, output and a node the names that the sealed model's have."""
    names = {"pixels": "image", "scores": "logits"}
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = names[value.name]
    proto.graph.node[0].name = "probabilities"


def as_in_ir_3(proto: onnx.ModelProto) -> None:
    """List the weights as inputs, as files of torch 1.0 do."""
    proto.ir_version = 3
    proto.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in proto.graph.initializer
    )


def with_traces(proto: onnx.ModelProto) -> None:
    """Add what today's torch.onnx says of the machine."""
    node = proto.graph.node[0]
    node.doc_string = "File /home/someone/train.py"
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.stack_trace", "File /home/someone/train.py"
    helper.set_model_props(proto, {"name": "another", "source": "/home/someone"})


def in_double_precision(proto: onnx.ModelProto) -> None:
    """Give the logits in float64."""
    proto.graph.node.append(helper.make_node("Cast", ["scores"], ["d"], to=TensorProto.DOUBLE))
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("d", TensorProto.DOUBLE, ["n", len(LABELS)])
    )


@pytest.mark.parametrize(
    ("how", "edit"),
    [
        ({}, with_traces),
        ({"dynamic": False, "batch": 1}, our_names),
        ({"dynamic": False, "batch": 3}, lambda proto: None),
        ({"opset": 9}, as_in_ir_3),
        ({}, in_double_precision),
    ],
    ids=["dynamic", "fixed, our names", "fixed, three", "IR 3", "float64"],
)
def test_a_sealed_file_is_one_that_the_service_reads(
    how: dict[str, object],
    edit: Callable[[onnx.ModelProto], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    foreign = tmp_path / "m.onnx"
    torch.manual_seed(5)
    network = write(tmp_path, views().eval(), foreign, **how)
    change(foreign, edit)
    assert main(arguments(tmp_path, f"{HERE}:views", preprocessing="center-crop")) == 0
    out = tmp_path / "sealed" / "model.onnx"
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        f"PASS: {foreign} is {HERE}:views with {tmp_path / 'w.pt'}",
        f"sealed; wrote {out}",
    ]
    model = open_model(out.read_bytes(), "cpu", 64)  # which checks its golden samples
    assert (model.name, model.version, list(model.labels)) == ("sealed", "1.0.0", LABELS)
    spec = model.signature.image
    assert (spec.shape, spec.pipeline, spec.resize) == (SHAPE, "center-crop", 21)
    assert len(model.golden.images) == len(LABELS)
    for count in (1, 2, 7):
        images = pictures(count)
        with torch.no_grad():
            right = network.double()(FORMAT.normalise(images, torch.float64)).numpy()
        logits, probabilities = model.infer(images.numpy(), ["logits", "probabilities"])
        np.testing.assert_allclose(logits, right, rtol=0, atol=1e-5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert b"someone" not in out.read_bytes()
    proof = json.loads((out.parent / "equivalence.json").read_text())
    metadata = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    sealed = json.loads(metadata["provenance"])["sealed"]
    assert (proof["verdict"], proof["sealed"], sealed["producer"]) == ("PASS", sealed, "pytorch")


def test_a_file_of_bytes_with_its_weights_beside_it(tmp_path: Path) -> None:
    model = trained("spread")
    write(tmp_path, model, tmp_path / "other.onnx")
    foreign = tmp_path / "m.onnx"
    export_by_torch(FromBytes(model), foreign, images=pictures(2))
    change(foreign, lambda proto: onnx.convert_model_to_external_data(proto, size_threshold=0))
    assert main(arguments(tmp_path, f"{networks.__name__}:Spread")) == 0
    out = tmp_path / "sealed" / "model.onnx"
    images = pictures(5).numpy()
    found, right = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run([output], {name: images})
        for path, output, name in ((out, "logits", "image"), (foreign, "scores", "pixels"))
    )
    np.testing.assert_array_equal(found, right)


def test_it_is_served(tmp_path: Path) -> None:
    write(tmp_path, trained("residual"), tmp_path / "m.onnx", dynamic=False)
    assert main(arguments(tmp_path, f"{networks.__name__}:residual", name="beasts")) == 0
    out = tmp_path / "sealed" / "model.onnx"
    image = pictures(1)[0].permute(1, 2, 0).numpy()  # (H, W, C)
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    with serving(tmp_path, FASHION_MODEL=str(out), FASHION_DEVICE="cpu") as server:
        answer = httpx.post(f"{server.url}/classify", content=content.getvalue(), timeout=60).json()
    with torch.no_grad():
        logits = trained("residual")(FORMAT.normalise(pictures(1), torch.float32))
    right = torch.softmax(logits, 1)[0].numpy()
    assert answer["label"] == LABELS[right.argmax()]
    np.testing.assert_allclose(list(answer["probabilities"].values()), right, atol=1e-5)
    assert answer["model"] == {"name": "beasts", "version": "1.0.0"}


def refusal(capsys: pytest.CaptureFixture[str], given: list[str], folder: Path) -> str:
    """Run it, check that it wrote nothing, and return its one line."""
    before = sorted(folder.iterdir())
    assert main(given) == 1
    assert sorted(folder.iterdir()) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_a_wrong_file_is_not_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = tmp_path / "m.onnx"
    write(tmp_path, trained("residual"), foreign)
    proto = onnx.load(foreign)
    change_convolution(proto, 3, MUTATIONS["weight"])
    onnx.save(proto, foreign)
    line = refusal(capsys, arguments(tmp_path, f"{networks.__name__}:residual"), tmp_path)
    assert line.startswith(f"error: {foreign} is not {networks.__name__}:residual with ")
    assert "so nothing is written: A: " in line


def test_a_wrong_scale_is_not_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that takes bytes and normalises them by other numbers than the options say."""
    model = trained("residual")
    write(tmp_path, model, tmp_path / "other.onnx")
    export_by_torch(FromBytes(model), tmp_path / "m.onnx", images=pictures(2))
    given = arguments(tmp_path, f"{networks.__name__}:residual", mean="0.5,0.4,0.31")
    assert "so nothing is written: A: " in refusal(capsys, given, tmp_path)


def test_two_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, trained("residual"), tmp_path / "m.onnx")
    another = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"])
    change(tmp_path / "m.onnx", lambda proto: proto.graph.input.append(another))
    line = refusal(capsys, arguments(tmp_path, f"{networks.__name__}:residual"), tmp_path)
    assert "takes pixels float (n, 3, 18, 18), z float (n): expected one input of images" in line


def test_an_opset_without_broadcasting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, convolution().eval(), tmp_path / "m.onnx", opset=9)
    change(tmp_path / "m.onnx", lambda proto: setattr(proto.opset_import[0], "version", 6))
    line = refusal(capsys, arguments(tmp_path, f"{HERE}:convolution"), tmp_path)
    assert line.endswith("m.onnx has opset 6: expected 7 or newer; export it again")


def test_a_fixed_batch_that_cannot_be_freed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, pixels_first().eval(), tmp_path / "m.onnx", dynamic=False, batch=2)
    line = refusal(capsys, arguments(tmp_path, f"{HERE}:pixels_first"), tmp_path)
    assert "does not compute every number of images at once, which the service needs" in line
    assert "and was exported for 2: export it with a dynamic batch (" in line


def test_more_weights_than_a_file_can_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, trained("residual"), tmp_path / "m.onnx")
    monkeypatch.setattr("export.servable.MOST_BYTES", 999)
    line = refusal(capsys, arguments(tmp_path, f"{networks.__name__}:residual"), tmp_path)
    assert "bytes with its weights: expected at most 999, which one file can hold" in line


def test_weights_that_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = tmp_path / "m.onnx"
    write(tmp_path, trained("residual"), foreign)
    proto = onnx.load(foreign)
    onnx.save(proto, foreign, save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    line = refusal(capsys, arguments(tmp_path, f"{networks.__name__}:residual"), tmp_path)
    assert "m.data" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "no_such_package:f"}, "there is no module no_such_package"),
        ({"labels": "{folder}/w.pt"}, "w.pt"),
        ({"preprocessing": "fashion-mnist"}, "is for images of 1 channel, but the network takes 3"),
        ({"output": "nothing"}, "has no output nothing: it gives scores float"),
        ({"data": "nowhere"}, "nowhere does not exist"),
        ({"image": "3x20x20"}, "are 3x18x18: expected 3x20x20"),
    ],
)
def test_options_that_do_not_fit(
    changes: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, trained("residual"), tmp_path / "m.onnx")
    changes = {key: text.format(folder=tmp_path) for key, text in changes.items()}
    given = arguments(tmp_path, **{"network": f"{networks.__name__}:residual", **changes})
    assert message in refusal(capsys, given, tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--image", "3x8x8", "--data", "d"], "network"),
        (["--network", "a:b", "--image", "3x8x8"], "--network a:b needs --data as well"),
        (
            ["--network", "a:b", "--image", "3x8x8", "--data", "d", "--out", "./m.onnx"],
            "--out m.onnx is also an input: choose another file to write",
        ),
    ],
)
def test_options_that_do_not_go_together(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["seal", "m.onnx", "w.pt", *given])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_constant_shape_in_a_node_is_freed(tmp_path: Path) -> None:
    """Older exporters write a reshape's target as a node instead of an initialiser."""
    write(tmp_path, views().eval(), tmp_path / "m.onnx", dynamic=False)

    def as_nodes(proto: onnx.ModelProto) -> None:
        graph = proto.graph
        shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
        for tensor in [t for t in graph.initializer if t.name in shapes]:
            graph.node.insert(
                0,
                helper.make_node(
                    "Constant",
                    [],
                    [tensor.name],
                    value=numpy_helper.from_array(numpy_helper.to_array(tensor)),
                ),
            )
            graph.initializer.remove(tensor)

    change(tmp_path / "m.onnx", as_nodes)
    assert main(arguments(tmp_path, f"{HERE}:views")) == 0
