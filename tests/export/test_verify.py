"""`python -m export verify`: a correct model passes; a wrong one fails, with the reason."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper
from torch import nn

from export.__main__ import main
from export.export import export
from export.metadata.input_statistics import KEY
from export.onnx_file.session import CPU, CUDA
from export.proof import equivalence
from export.settings import ExportSettings
from tests.export import mutants
from tests.export.mutants import Mutant, emitted, replace
from tests.export.networks import write_checkpoint
from training.files.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, original: nn.Sequential, small_test_set: Path
) -> Path:
    """A folder with a checkpoint and its model."""
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = write_checkpoint(folder / "checkpoint.safetensors", original)
    export(ExportSettings(checkpoint=checkpoint, out=folder / "model.onnx", data=small_test_set))
    return folder


class Verification:
    """A model and a checkpoint that a test can change and verify."""

    def __init__(self, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.model, self.checkpoint = folder / "model.onnx", folder / "checkpoint.safetensors"
        self._data, self._capsys = data, capsys

    def run(self, *more: str | Path) -> tuple[int, str, list[str]]:
        """Exit status, standard output, and the lines of standard error."""
        files = (self.model, self.checkpoint, "--data", self._data)
        status = main(["verify", *map(str, (*files, *more))])
        printed = self._capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    def rewrite(self, change: Callable[[onnx.ModelProto], None]) -> None:
        proto = onnx.load(self.model)
        change(proto)
        self.model.write_bytes(proto.SerializeToString())


@pytest.fixture
def verification(
    exported: Path, small_test_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Verification]:
    shutil.copytree(exported, tmp_path / "copy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.verify.refold", emitted)  # the same checkpoint is folded once
        yield Verification(tmp_path / "copy", small_test_set, capsys)


def test_a_right_model_passes(verification: Verification) -> None:
    status, out, errors = verification.run()
    assert (status, errors) == (0, [])
    lines = out.splitlines()
    assert lines[0].startswith("against eval mode, float64")
    assert lines[-1] == f"PASS: {verification.model} is {verification.checkpoint}, folded"


def test_it_writes_nothing_that_was_not_asked_for(verification: Verification) -> None:
    folder = verification.model.parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    verification.run()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_report_is_the_exports_own(verification: Verification, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.json", tmp_path / "errors.png"
    status, _, _ = verification.run("--json", report, "--plot", picture)
    assert status == 0
    found = json.loads(report.read_text())
    written = json.loads((verification.model.parent / "equivalence.json").read_text())
    for same in ("verdict", "faults", "model_sha256", "checkpoint_sha256", "test_set", "versions"):
        assert found[same] == written[same]
    assert set(found) == set(written)
    assert picture.read_bytes().startswith(b"\x89PNG")


def put_graph(verification: Verification, wrong: onnx.ModelProto) -> None:
    verification.rewrite(lambda proto: proto.graph.CopyFrom(wrong.graph))


@pytest.mark.parametrize(
    ("mutant", "starts_in"),
    [
        (mutants.tampered_weight, "gemm_7"),
        (mutants.wrong_eps, "conv_0"),
        (mutants.values_for_bytes, "conv_0"),
        (mutants.swapped_channels, "conv_3"),
        (mutants.stale_checkpoint, "conv_0"),
    ],
)
def test_a_wrong_model_is_caught(
    mutant: Mutant,
    starts_in: str,
    verification: Verification,
    network: nn.Sequential,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A tampered weight, a wrong eps, a forgotten 1/255, swapped channels, an older training."""
    wrong = mutant(network, monkeypatch)
    monkeypatch.undo()
    put_graph(verification, wrong)
    status, out, errors = verification.run("--json", tmp_path / "report.json")
    assert status == 1
    assert out.splitlines()[-1] == (
        f"FAIL: {verification.model} is not {verification.checkpoint}, folded"
    )
    assert all(line.startswith("error: ") for line in errors)
    text = "\n".join(errors)
    assert "with optimisation default its largest logit error against float64 is" in text
    assert "with optimisation disabled its largest logit error against float64 is" in text
    assert f"the deviation starts in {starts_in} " in text
    assert "is not the checkpoint's, folded again" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "not equal"
    assert [f"error: {fault}" for fault in report["faults"]] == errors


def test_a_weight_tampered_with_in_its_last_bit_is_caught(
    verification: Verification, network: nn.Sequential
) -> None:
    def change(weight: np.ndarray) -> None:
        weight.flat[17] = np.nextafter(weight.flat[17], np.inf)

    put_graph(verification, replace(emitted(network), "7.weight", change))
    status, _, (error,) = verification.run()
    assert status == 1
    assert error.startswith("error: its tensor 7.weight is not the checkpoint's, folded again: 1 ")


def test_a_stale_checkpoint_is_caught(verification: Verification) -> None:
    """Trained on for one more step, after the export."""
    stored = load_checkpoint(verification.checkpoint)
    with torch.no_grad():
        stored.model[0].weight.mul_(1 + 1e-3)
    write_checkpoint(verification.checkpoint, stored.model)
    status, _, errors = verification.run()
    assert status == 1
    assert "with optimisation default its largest logit error against float64 is " in errors[0]
    assert "it says that it comes from a checkpoint with SHA-256 " in errors[-2]
    assert "its input statistics are not the training set's: weight, mean, " in errors[-1]
    assert errors[-2].endswith("the checkpoint or the model is stale")


def test_a_checkpoint_with_the_same_network_and_another_file_is_caught(
    verification: Verification,
) -> None:
    stored = load_checkpoint(verification.checkpoint)
    write_checkpoint(verification.checkpoint, stored.model, seed="8")
    status, _, (error,) = verification.run()
    assert status == 1
    assert "the checkpoint or the model is stale" in error


def test_other_labels_are_caught(verification: Verification) -> None:
    def change(proto: onnx.ModelProto) -> None:
        (labels,) = [entry for entry in proto.metadata_props if entry.key == "labels"]
        labels.value = json.dumps(json.loads(labels.value)[::-1])

    verification.rewrite(change)
    status, _, (error,) = verification.run()
    assert status == 1
    assert error.startswith("error: its labels are ['Ankle boot', 'Bag', ")


def test_a_batch_norm_left_in_is_caught(verification: Verification) -> None:
    """A batch norm that changes nothing, which only the graph's nodes show."""

    def change(proto: onnx.ModelProto) -> None:
        ones = helper.make_tensor("ones", onnx.TensorProto.FLOAT, [6], [1.0] * 6)
        zeros = helper.make_tensor("zeros", onnx.TensorProto.FLOAT, [6], [0.0] * 6)
        proto.graph.initializer.extend([ones, zeros])
        inputs = ["conv_0", "ones", "zeros", "zeros", "ones"]
        node = helper.make_node("BatchNormalization", inputs, ["bn"], name="bn", epsilon=0.0)
        proto.graph.node[2].input[0] = "bn"
        proto.graph.node.insert(2, node)

    verification.rewrite(change)
    status, _, errors = verification.run()
    assert status == 1
    assert errors == [
        "error: its graph still has BatchNormalization nodes (bn)",
        "error: its tensor ones does not belong (and 1 more tensors are wrong)",
    ]


def test_no_text_of_a_model_commands_the_terminal(verification: Verification) -> None:
    def change(proto: onnx.ModelProto) -> None:
        (labels,) = [entry for entry in proto.metadata_props if entry.key == "labels"]
        labels.value = "[]"
        proto.graph.node[1].output[0] = proto.graph.node[2].input[0] = "\x1b[2Jconv"

    verification.rewrite(change)
    status, out, errors = verification.run()
    assert status == 1
    assert "is %\N{REPLACEMENT CHARACTER}[2Jconv = Conv[" in errors[0]
    assert "\x1b" not in out + "".join(errors)


def _change_statistics(verification: Verification, change: Callable[[Any], None]) -> None:
    def rewrite(proto: onnx.ModelProto) -> None:
        (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
        content = json.loads(entry.value)
        change(content)
        entry.value = json.dumps(content)

    verification.rewrite(rewrite)


def _shift_a_mean(content: Any) -> None:
    content["mean"][3] += 1e-5 * max(map(abs, content["mean"]))


def _raise_the_limit(content: Any) -> None:
    content["shift_limit"] *= 1.001


def _put_in_what_is_no_number(content: Any) -> None:
    content["whitening"][0][0] = math.nan


def _forget_the_floor(content: Any) -> None:
    del content["floor"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_shift_a_mean, "are not the training set's: mean"),
        (_raise_the_limit, "are not the training set's: shift_limit"),
        (_put_in_what_is_no_number, "are not the training set's: whitening"),
        (_forget_the_floor, "are broken: KeyError: 'floor'"),
    ],
)
def test_input_statistics_that_are_not_the_training_sets(
    change: Callable[[Any], None], fault: str, verification: Verification
) -> None:
    _change_statistics(verification, change)
    status, out, errors = verification.run()
    assert (status, errors) == (1, [f"error: its input statistics {fault}"])
    assert out.splitlines()[-1].startswith("FAIL: ")
    assert verification.run("--no-input-statistics")[0] == 0


def test_input_statistics_on_a_machine_that_adds_in_another_order(
    verification: Verification,
) -> None:
    def change(content: Any) -> None:
        content["mean"] = [number * (1 + 1e-9) for number in content["mean"]]

    _change_statistics(verification, change)
    assert verification.run()[0] == 0


def test_input_statistics_without_a_training_set(
    verification: Verification, small_test_set: Path, tmp_path: Path
) -> None:
    for file in small_test_set.glob("t10k-*"):
        shutil.copy(file, tmp_path)
    status, out, errors = verification.run("--data", tmp_path)
    assert (status, out, len(errors)) == (1, "", 1)
    assert "the input statistics are those of the training set, but" in errors[0]
    assert "leave them out with --no-input-statistics" in errors[0]
    assert verification.run("--data", tmp_path, "--no-input-statistics")[0] == 0


def _cut(verification: Verification) -> None:
    verification.model.write_bytes(verification.model.read_bytes()[:-5000])


def _remove(verification: Verification) -> None:
    verification.model.unlink()


def _rename_the_input(verification: Verification) -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].name = proto.graph.node[0].input[0] = "x"

    verification.rewrite(change)


def _drop_a_node(verification: Verification) -> None:
    verification.rewrite(lambda proto: proto.graph.node.pop(3) and None)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_cut, "is not a complete ONNX model"),
        (_remove, "cannot read the model "),
        (_rename_the_input, "takes x UINT8 (?, 1, 28, 28); a model of this checkpoint's network"),
        (_drop_a_node, "is not a valid ONNX model: "),
    ],
)
def test_what_cannot_be_measured_is_one_error(
    spoil: Callable[[Verification], None], text: str, verification: Verification
) -> None:
    spoil(verification)
    status, out, errors = verification.run()
    assert (status, out) == (1, "")
    assert errors[0].startswith("error: ")
    assert text in errors[0]


def test_without_a_gpu_device_cuda_is_one_error(verification: Verification) -> None:
    status, _, errors = verification.run("--device", "cuda")
    assert status == 1
    (line,) = errors
    assert line.startswith("error: --device cuda: the GPU cannot compute all of the model")


def test_on_a_gpu_the_limit_is_8_times_eval_modes_own_error(
    verification: Verification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session on the CPU takes the place of the GPU's."""
    opened = []

    def on_cpu(model: Any, options: ort.SessionOptions, **given: Any) -> ort.InferenceSession:
        opened.append(given["providers"][0][0])
        plain = ort.SessionOptions()
        plain.graph_optimization_level = options.graph_optimization_level
        return real(model, plain, providers=[CPU])

    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", on_cpu)
    monkeypatch.setattr(equivalence, "GPU_ALLOWANCE", {"default": 1e-6, "disabled": 8.0})
    status, out, errors = verification.run("--device", "cuda", "--no-input-statistics")
    assert status == 1
    assert set(opened) == {CUDA}
    assert "with optimisation default its largest logit error" in errors[0]
    monkeypatch.undo()
    monkeypatch.setattr(ort, "InferenceSession", on_cpu)
    status, out, errors = verification.run("--device", "cuda", "--no-input-statistics")
    assert (status, errors) == (0, [])
    assert f"PASS: {verification.model}, on a GPU, is " in out


def test_no_checkpoint(verification: Verification) -> None:
    verification.checkpoint.unlink()
    assert verification.run() == (
        1,
        "",
        [f"error: {verification.checkpoint} is not a file: name a checkpoint.safetensors"],
    )


def test_a_missing_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "model.onnx"])
    assert caught.value.code == 2
    assert "required: CHECKPOINT" in capsys.readouterr().err


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("python -m export verify", "MODEL CHECKPOINT", "--data", "--json", "--plot"):
        assert option in text
