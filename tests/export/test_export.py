"""A whole export, from a checkpoint's file to a model's, and every way it can fail."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from export.errors import EquivalenceError, ExportError, FoldError
from export.export import export
from export.folding.normalization import Normalization
from export.onnx_file.emission import EmittedModel
from export.onnx_file.lenet import emit_lenet
from export.settings import ExportSettings
from tests.export.mutants import emitted, fold_unchecked
from tests.export.networks import TEST_SET, random_network, write_checkpoint, write_data_set
from training.data.dataset import Split
from training.data.fashion_mnist import LABELS
from training.errors import CheckpointError, DatasetError, RunError

MODEL_KEYS = [
    *("name", "version", "labels", "provenance", "equivalence", "golden_samples"),
    "input_statistics",
]


@pytest.fixture(autouse=True)
def _refolded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the proof folds again is the same network's in most tests."""
    monkeypatch.setattr("export.export.refold", emitted)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_whole_export(
    checkpoint: Path, network: nn.Sequential, small_test_set: Path, real: Split, tmp_path: Path
) -> None:
    digest = sha256(checkpoint)
    out = tmp_path / "a" / "new" / "folder" / "lenet.onnx"
    found_proof = export(
        ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set, model_version="4.5.6")
    )
    assert names(out.parent) == {"lenet.onnx", "equivalence.json"}  # and no temporary file
    assert names(tmp_path) == {"checkpoint.safetensors", "a"}
    assert sha256(checkpoint) == digest

    proof = json.loads((out.parent / "equivalence.json").read_text())
    assert set(proof) == {
        *("verdict", "faults", "model_sha256", "checkpoint_sha256", "test_set"),
        *("figures", "comparisons", "decisions", "layers", "deviation_starts", "adversarial"),
        *("versions", "date", "machine"),
    }
    assert proof["verdict"] == "equal"
    assert proof["faults"] == []
    assert proof["model_sha256"] == sha256(out)
    assert proof["checkpoint_sha256"] == digest
    assert set(proof["test_set"]) == {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}
    labels_digest = sha256(small_test_set / "t10k-labels-idx1-ubyte")
    assert proof["test_set"]["t10k-labels-idx1-ubyte"] == labels_digest
    assert proof["figures"] == asdict(found_proof.equivalence)
    assert proof["figures"]["images"] == 100
    assert proof["versions"]["onnxruntime"] == ort.__version__

    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    found = {p.key: p.value for p in model.metadata_props}
    assert list(found) == MODEL_KEYS
    assert found["version"] == "4.5.6"
    assert json.loads(found["labels"]) == list(LABELS)
    assert json.loads(found["equivalence"]) == proof["figures"]
    origin = json.loads(found["provenance"])
    assert origin["checkpoint_sha256"] == digest
    assert origin["recipe"] == "random"
    assert origin["versions"] == {"python": "3.11.2", **proof["versions"]}

    session = ort.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == found
    (logits,) = session.run(["logits"], {"image": real.images[:100].numpy()})
    with torch.no_grad():
        exact = network.double()(real.images[:100].double() / 255)
    np.testing.assert_allclose(logits, exact.numpy(), rtol=0, atol=6e-5)


def test_the_same_checkpoint_gives_the_same_model(
    checkpoint: Path, small_test_set: Path, tmp_path: Path
) -> None:
    graphs = []
    for name in ("first", "second"):
        out = tmp_path / name / "model.onnx"
        export(ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set))
        graphs.append(onnx.load(out).graph.SerializeToString(deterministic=True))
    assert graphs[0] == graphs[1]


def test_another_number_of_classes(real: Split, tmp_path: Path) -> None:
    images, labels = real.images[:200], real.labels[:200] % 3
    network = random_network(images, seed=0, num_classes=3)
    checkpoint = write_checkpoint(tmp_path / "c", network, labels='["top", "shoe", "bag"]')
    data = write_data_set(tmp_path / "data", images, labels)
    out = tmp_path / "model.onnx"
    export(ExportSettings(checkpoint=checkpoint, out=out, data=data))
    found = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert json.loads(found["labels"]) == ["top", "shoe", "bag"]
    assert np.array(json.loads(found["golden_samples"])["logits"]).shape == (3, 3)


def _forget_255(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit_for_values(model: nn.Sequential) -> EmittedModel:
        return emit_lenet(model, Normalization(std=(1 / 255,)))

    monkeypatch.setattr("export.export.emit_lenet", emit_for_values)


def _drop_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    fold_unchecked(monkeypatch, 0.0)


def _fold_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit_wrongly(model: nn.Sequential) -> EmittedModel:
        wrong = copy.deepcopy(model)
        with torch.no_grad():
            wrong[4].weight.copy_(wrong[4].weight.flip(0))
        return emit_lenet(wrong)

    monkeypatch.setattr("export.export.emit_lenet", emit_wrongly)


@pytest.mark.parametrize("spoil", [_forget_255, _drop_eps, _fold_another])
def test_a_failed_proof_writes_nothing(
    spoil: Callable[[pytest.MonkeyPatch], None],
    checkpoint: Path,
    small_test_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch)
    out = tmp_path / "out" / "model.onnx"
    with pytest.raises(EquivalenceError, match="not the network it came from, so it is not writ"):
        export(ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set))
    assert not out.parent.exists()


def test_a_failed_proof_leaves_the_proven_model_that_was_there(
    checkpoint: Path, small_test_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ExportSettings(
        checkpoint=checkpoint, out=tmp_path / "out" / "model.onnx", data=small_test_set
    )
    export(settings)
    before = {path.name: path.read_bytes() for path in settings.out.parent.iterdir()}
    _drop_eps(monkeypatch)
    with pytest.raises(EquivalenceError):
        export(settings)
    assert {path.name: path.read_bytes() for path in settings.out.parent.iterdir()} == before


@dataclasses.dataclass
class Fault:
    """A checkpoint that cannot be exported."""

    error: type[Exception]
    text: str


def refuse(checkpoint: Path, data: Path, fault: Fault) -> None:
    out = checkpoint.parent / "out" / "model.onnx"
    with pytest.raises(fault.error) as caught:
        export(ExportSettings(checkpoint=checkpoint, out=out, data=data))
    assert fault.text in str(caught.value)
    assert not out.parent.exists()


def test_a_checkpoint_that_diverged(
    network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    network[5].moving_mean[0, 2] = float("nan")
    path = write_checkpoint(tmp_path / "c", network)
    text = "batch norm 5 has a moving_mean that is not finite"
    refuse(path, small_test_set, Fault(FoldError, text))


def test_a_weight_that_is_not_a_number(
    network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    with torch.no_grad():
        network[9].weight[0, 0] = float("nan")
    path = write_checkpoint(tmp_path / "c", network)
    text = "layer 9 has a weight that is not finite"
    refuse(path, small_test_set, Fault(FoldError, text))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\xff" * 100])
def test_a_file_that_is_no_checkpoint(content: bytes, small_test_set: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    refuse(
        path, small_test_set, Fault(CheckpointError, f"{path} is not a complete safetensors file")
    )


def test_a_checkpoint_cut_short(checkpoint: Path, small_test_set: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    text = f"{checkpoint} is not a complete safetensors file"
    refuse(checkpoint, small_test_set, Fault(CheckpointError, text))


def test_no_checkpoint(small_test_set: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    text = f"{path} is not a file: name a checkpoint.safetensors"
    refuse(path, small_test_set, Fault(CheckpointError, text))


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ("", "does not name its classes: its metadata needs `labels`, a JSON list of names"),
        ("10", "does not name its classes"),
        ('"Bag"', "does not name its classes"),
        ("[1, 2]", "does not name its classes"),
        ("{}", "does not name its classes"),
        ('["Bag", "Dress"]', "names 2 classes, but its network has 10"),
        (json.dumps([*LABELS, "Hat"]), "names 11 classes, but its network has 10"),
    ],
)
def test_labels_that_name_no_classes_or_too_few(
    labels: str, text: str, network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", network, labels=labels)
    refuse(path, small_test_set, Fault(ExportError, f"{path} {text}"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bag", "classes 8 and 9 are both called 'Bag'"),
        ("", "class 9 has an empty name"),
        ("a\nb", "class 9's name 'a\\nb' has U+000A in it"),
    ],
)
def test_a_checkpoint_with_bad_names(
    name: str, text: str, network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", network, labels=json.dumps([*LABELS[:9], name]))
    refuse(path, small_test_set, Fault(ExportError, f"in {path} {text}"))


def test_a_checkpoint_without_labels(
    network: nn.Sequential,
    small_test_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.export.networks.metadata", dict)
    path = write_checkpoint(tmp_path / "c", network)
    refuse(path, small_test_set, Fault(ExportError, f"{path} does not name its classes"))


def test_another_test_set_than_the_checkpoints(
    network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    path = write_checkpoint(
        tmp_path / "c", network, dataset=json.dumps({"t10k-labels-idx1-ubyte": "0402"})
    )
    digest = sha256(small_test_set / "t10k-labels-idx1-ubyte")
    refuse(
        path,
        small_test_set,
        Fault(
            ExportError,
            f"t10k-labels-idx1-ubyte has SHA-256 {digest}, but the checkpoint was tested on "
            "0402: give the folder of that test set with --data",
        ),
    )


def test_without_data_only_fashion_mnist_itself_will_do(
    checkpoint: Path, small_test_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_MNIST_DIR", str(small_test_set))
    out = tmp_path / "out" / "model.onnx"
    with pytest.raises(DatasetError, match="is not Fashion-MNIST's: its SHA-256 is"):
        export(ExportSettings(checkpoint=checkpoint, out=out))
    assert not out.parent.exists()


def test_no_test_set(checkpoint: Path, tmp_path: Path) -> None:
    text = f"{tmp_path} holds neither t10k-images-idx3-ubyte nor t10k-images-idx3-ubyte.gz"
    refuse(checkpoint, tmp_path, Fault(DatasetError, text))


def test_no_training_set(checkpoint: Path) -> None:
    text = (
        f"the input statistics are those of the training set, but {TEST_SET} holds neither "
        "train-images-idx3-ubyte nor train-images-idx3-ubyte.gz: name the folder that has all four "
        "files (--data), or leave them out with --no-input-statistics"
    )
    refuse(checkpoint, TEST_SET, Fault(ExportError, text))


def test_another_training_set_than_the_checkpoints(
    network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    path = write_checkpoint(
        tmp_path / "c", network, dataset=json.dumps({"train-labels-idx1-ubyte": "0402"})
    )
    text = (
        "but the checkpoint was trained on 0402: give the folder of that training set with --data"
    )
    refuse(path, small_test_set, Fault(ExportError, text))


def test_a_folder_that_cannot_be_made(checkpoint: Path, small_test_set: Path) -> None:
    out = checkpoint / "model.onnx"  # below a file
    with pytest.raises(RunError, match=r"cannot write into the folder .* is not a folder; choose"):
        export(ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set))


def test_a_model_that_cannot_be_written(
    checkpoint: Path, small_test_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "taken"
    out.mkdir()
    with pytest.raises(RunError, match=f"cannot write {out}: .*choose a folder"):
        export(ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set))
    assert names(tmp_path) == {"checkpoint.safetensors", "taken"}


@pytest.mark.parametrize("name", ["model.onnx", "equivalence.json"])
def test_a_model_and_its_proof_are_replaced_together(
    name: str, checkpoint: Path, small_test_set: Path, tmp_path: Path
) -> None:
    there = tmp_path / "out" / name
    there.parent.mkdir()
    there.write_text("another's")
    settings = ExportSettings(
        checkpoint=checkpoint, out=tmp_path / "out" / "model.onnx", data=small_test_set
    )
    export(settings)
    proof = json.loads((tmp_path / "out" / "equivalence.json").read_text())
    assert proof["model_sha256"] == sha256(settings.out)
    assert names(tmp_path / "out") == {"model.onnx", "equivalence.json"}


def test_a_proof_that_cannot_be_written_leaves_no_model(
    checkpoint: Path, small_test_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "equivalence.json").mkdir()
    out = tmp_path / "model.onnx"
    out.write_text("another's")
    with pytest.raises(RunError, match=r"cannot write .*equivalence.json: Is a directory"):
        export(ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set))
    assert out.read_text() == "another's"
