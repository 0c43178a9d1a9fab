"""`python -m export verify --network`: its verdict, its files, and one line for each error."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export.__main__ import main
from tests.export.network import factories
from tests.export.verification import networks
from tests.export.verification.networks import (
    MUTATIONS,
    SHAPE,
    change_convolution,
    export_by_torch,
    pictures,
    trained,
)

ROOT = Path(__file__).parents[2]
IMAGE = "x".join(map(str, SHAPE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, its weights, and images."""
    folder = tmp_path_factory.mktemp("verified")
    model = trained("residual")
    export_by_torch(model, folder / "m.onnx")
    torch.save(model.state_dict(), folder / "w.pt")
    np.savez(folder / "d.npz", images=pictures(30).numpy())
    return folder


def arguments(folder: Path, **changes: str) -> list[str]:
    options = {
        "network": f"{networks.__name__}:residual",
        "image": IMAGE,
        "data": str(folder / "d.npz"),
        "mean": "0.5,0.4,0.3",
        "std": "0.2,0.25,0.3",
        "images": "16",
    }
    files = {"model": str(folder / "m.onnx"), "weights": str(folder / "w.pt")}
    files |= {key: changes.pop(key) for key in files if key in changes}
    given = [text for key, value in (options | changes).items() for text in (f"--{key}", value)]
    return ["verify", *files.values(), *given]


def test_a_right_file_passes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, picture = tmp_path / "report.json", tmp_path / "errors.png"
    status = main(arguments(folder, json=str(report), plot=str(picture)))
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0].startswith("against float64, logits")
    assert lines[1].startswith("eval mode, float32             16 ")
    assert [line[:2] for line in lines[-4:-1]] == ["A ", "B ", "C "]
    assert lines[-2].startswith("C  16 of 16 classes are proved the same, 0 are others, 0 are und")
    assert lines[-1] == (
        f"PASS: {folder / 'm.onnx'} is {networks.__name__}:residual with {folder / 'w.pt'}"
    )
    found = json.loads(report.read_text())
    assert (found["verdict"], found["faults"], found["deviation_starts"]) == ("PASS", [], None)
    assert found["graph"]["error"] <= found["graph"]["limit"]
    assert found["measured"]["images"]["runs"]["default"]["images"] == 16
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_wrong_file_fails_and_is_told_where(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(folder / "m.onnx")
    name = change_convolution(proto, 2, MUTATIONS["channels"])
    onnx.save(proto, tmp_path / "wrong.onnx")
    report = tmp_path / "report.json"
    wrong = str(tmp_path / "wrong.onnx")
    status = main(arguments(folder, model=wrong, json=str(report)))
    printed = capsys.readouterr()
    assert status == 1
    assert printed.out.splitlines()[-1].startswith(f"FAIL: {wrong} is not ")
    errors = printed.err.splitlines()
    assert errors[0].startswith("error: A: in float64 its graph is off by ")
    assert errors[-1].startswith("error: the deviation starts in node ")
    assert f"(Conv with {name}, " in errors[-1]
    found = json.loads(report.read_text())
    assert [f"error: {fault}" for fault in found["faults"]] == errors
    assert found["deviation_starts"]["operator"] == "Conv"


def test_it_runs_as_a_program_and_draws_no_bar_where_no_terminal_is(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "export", *arguments(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS: " in done.stdout


def one_error(capsys: pytest.CaptureFixture[str], given: list[str]) -> str:
    assert main(given) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


HERE = factories.__name__


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "no_such_package:f"}, "there is no module no_such_package"),
        ({"network": f"{HERE}:nothing"}, f"module {HERE} has no attribute nothing"),
        ({"network": f"{HERE}:fails"}, f"{HERE}:fails() raises ValueError: no luck"),
        (
            {"network": f"{HERE}:small"},
            "does not fit the network: it lacks 5.weight, 5.bias; it has un",
        ),
        ({"arguments": '{"a": 1}'}, "residual(a=1) raises TypeError: "),
        (
            {"image": "1x18x18", "mean": "0", "std": "1"},
            "the network cannot compute images of 1x18x18 (--image): ",
        ),
        ({"image": "3x20x20"}, "the images of"),
        ({"image": "2x18x18"}, "images of 2x18x18: expected CxHxW with 1 or 3 channels"),
        ({"std": "0"}, "std 0,0,0: expected numbers above 0"),
        ({"mean": "0.1,0.2"}, "mean 0.1,0.2 has 2 numbers: expected one, or one for each of the 3"),
        ({"data": "nowhere"}, "nowhere does not exist: name a folder or a .npz with --data"),
        ({"weights": "nowhere.pt"}, "nowhere.pt is not a file: name a state dict"),
        ({"model": "nowhere.onnx"}, "cannot read the model nowhere.onnx: "),
        ({"output": "nothing"}, "has no output nothing: it gives scores float (n, 6)"),
        ({"labels": "labels.txt"}, "labels.txt names 2 classes, but the network has 6: expected"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    changes: dict[str, str],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("a\nb\n")
    given = arguments(folder, json="report.json", plot="errors.png", **changes)
    assert message in one_error(capsys, given)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.txt"]


def test_a_pickled_module_is_not_loaded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(trained("residual"), tmp_path / "net.pt")
    text = one_error(capsys, arguments(folder, weights=str(tmp_path / "net.pt")))
    assert "holds pickled Python objects, which are never loaded: expected a state dict" in text


def test_weights_that_are_no_numbers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(folder / "w.pt", weights_only=True)
    weights["3.conv1.weight"][0] = torch.nan
    torch.save(weights, tmp_path / "w.pt")
    text = one_error(capsys, arguments(folder, weights=str(tmp_path / "w.pt")))
    assert text.startswith("the network's 3.conv1.weight is not finite: the training diverged")


def small_graph(
    inputs: list[tuple[str, int, list[object]]], outputs: list[tuple[str, list[object]]]
) -> onnx.ModelProto:
    """A model of any interface; all outputs are copies of the first input."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [inputs[0][0]], [name]) for name, _ in outputs],
            "g",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(n, inputs[0][1], shape) for n, shape in outputs],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


FLOAT = TensorProto.FLOAT
IMAGES = ["n", *SHAPE]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (
            small_graph([("x", FLOAT, ["n", 18, 18, 3])], [("y", ["n", 18, 18, 3])]),
            "takes x float (n, 18, 18, 3): expected images (N, 3, 18, 18)",
        ),
        (
            small_graph([("x", TensorProto.INT64, IMAGES)], [("y", IMAGES)]),
            "takes x int64 (n, 3, 18, 18): expected float32 normalised values or uint8 bytes",
        ),
        (
            small_graph([("x", FLOAT, IMAGES), ("z", FLOAT, ["n"])], [("y", IMAGES)]),
            "takes x float (n, 3, 18, 18), z float (n): expected one input of images",
        ),
        (
            small_graph([("x", FLOAT, IMAGES)], [("y", IMAGES)]),
            "gives y float (n, 3, 18, 18): expected logits of shape (N, 6)",
        ),
    ],
)
def test_a_file_of_another_interface(
    proto: onnx.ModelProto,
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    onnx.save(proto, tmp_path / "m.onnx")
    assert message in one_error(capsys, arguments(folder, model=str(tmp_path / "m.onnx")))


def test_no_onnx_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    text = one_error(capsys, arguments(folder, model=str(tmp_path / "m.onnx")))
    assert text.startswith(f"ONNX Runtime cannot load {tmp_path / 'm.onnx'}: ")


def test_several_outputs_need_a_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(folder / "m.onnx")
    proto.graph.node.append(helper.make_node("Softmax", ["scores"], ["chances"], axis=1))
    proto.graph.output.append(helper.make_tensor_value_info("chances", FLOAT, ["n", 6]))
    onnx.save(proto, tmp_path / "m.onnx")
    model = str(tmp_path / "m.onnx")
    assert one_error(capsys, arguments(folder, model=model)).endswith(
        "gives scores float (n, 6), chances float (n, 6), and each could be the logits: name one "
        "with --output"
    )
    assert main(arguments(folder, model=model, output="scores")) == 0
    capsys.readouterr()
    assert main(arguments(folder, model=model, output="chances")) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--image", "3x8x8"], "--image is of a network: name it with --network"),
        (["--output", "y"], "--output is of a network: name it with --network"),
        (["--network", "a:b", "--image", "3x8x8"], "--network a:b needs --data as well"),
        (["--network", "a:b", "--image", "3x8", "--data", "d"], "--image 3x8: expected CxHxW"),
    ],
)
def test_options_that_do_not_go_together(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "m.onnx", "w.pt", *given])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
