"""What the model carries beside its graph."""

import base64
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.export import export
from export.metadata.properties import attach, golden_samples, provenance
from export.proof.equivalence import Equivalence, compare
from export.settings import ExportSettings
from tests.export.inference import run
from tests.export.networks import assert_untouched, metadata, state, write_checkpoint
from training.data.dataset import Split
from training.data.fashion_mnist import LABELS


@pytest.fixture
def equivalence(
    network: nn.Sequential, folded_model: onnx.ModelProto, images: Tensor
) -> Equivalence:
    return compare(network, folded_model.SerializeToString(), images)


def decoded(samples: str) -> tuple[np.ndarray, np.ndarray, float]:
    """As the service reads them: images (G, 1, 28, 28) uint8, logits (G, K), tolerance."""
    found = json.loads(samples)
    assert list(found) == ["images", "logits", "tolerance"]
    logits = np.array(found["logits"])
    content = base64.b64decode(found["images"], validate=True)
    images = np.frombuffer(content, np.uint8).reshape(len(logits), 1, 28, 28)
    return images, logits, found["tolerance"]


def test_golden_samples_are_the_first_image_of_each_class_with_the_reference_logits(
    network: nn.Sequential, real: Split, equivalence: Equivalence
) -> None:
    before = state(network)
    images, logits, tolerance = decoded(
        golden_samples(network, real.images, real.labels, equivalence)
    )
    assert_untouched(network, before)
    labels = real.labels.tolist()
    first = [labels.index(label) for label in range(10)]
    np.testing.assert_array_equal(images, real.images[first].numpy())
    with torch.no_grad():
        exact = network.double()(real.images[first].double() / 255)
    np.testing.assert_allclose(logits, exact.numpy(), rtol=0, atol=1e-12)
    assert tolerance == 10 * equivalence.eval_mode.max_error > 0


def test_golden_samples_skip_a_class_that_has_no_image(
    network: nn.Sequential, images: Tensor, equivalence: Equivalence
) -> None:
    labels = torch.full((len(images),), 4)
    labels[7] = 1
    found, logits, _ = decoded(golden_samples(network, images, labels, equivalence))
    np.testing.assert_array_equal(found, images[[7, 0]].numpy())
    assert logits.shape == (2, 10)


def test_the_golden_tolerance_lies_between_float32_and_a_wrong_model(
    network: nn.Sequential,
    folded_model: onnx.ModelProto,
    real: Split,
    equivalence: Equivalence,
) -> None:
    images, logits, tolerance = decoded(
        golden_samples(network, real.images, real.labels, equivalence)
    )
    found, _ = run(folded_model, torch.from_numpy(images.copy()))
    assert np.abs(found - logits).max() < tolerance / 10
    with torch.no_grad():
        network[4].weight.mul_(1 + 2**-11)  # what TF32 keeps of a weight
        off = network(torch.from_numpy(images.copy()).float() / 255)
    assert np.abs(off.numpy() - logits).max() > tolerance


def test_provenance_tells_the_recipe_the_data_the_checkpoint_and_the_versions() -> None:
    trained = metadata(dataset=json.dumps({"t10k-images-idx3-ubyte": "5b41"}))
    found = provenance(trained, "abc123", {"onnx": "1.20"})
    assert found == {
        "recipe": "random",
        "seed": "7",
        "epochs": "0",
        "test_accuracy": "0.1",
        "dataset": {"t10k-images-idx3-ubyte": "5b41"},
        "checkpoint_sha256": "abc123",
        "versions": {"python": "3.11.2", "onnx": "1.20"},
    }


def test_provenance_makes_nothing_up() -> None:
    found = provenance({}, "abc123", {})
    assert set(found) == {"dataset", "checkpoint_sha256", "versions"}
    assert found["dataset"] == found["versions"] == {}


@pytest.mark.parametrize("key", ["dataset", "versions"])
@pytest.mark.parametrize("text", ["", "no JSON", "7", '["onnx"]', "null", "NaN"])
def test_a_checkpoint_whose_metadata_is_no_json_object_is_refused(key: str, text: str) -> None:
    with pytest.raises(ExportError) as caught:
        provenance({key: text}, "abc123", {})
    assert str(caught.value) == (
        f"the checkpoint's metadata has {text!r} for `{key}`: expected a JSON object, as "
        "`python -m training` writes it"
    )


def test_an_export_of_such_a_checkpoint_says_so(
    network: nn.Sequential, small_test_set: Path, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "c", network, dataset="no JSON")
    out = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match="the checkpoint's metadata has 'no JSON' for `dataset`"):
        export(ExportSettings(checkpoint=checkpoint, out=out, data=small_test_set))
    assert not out.exists()


def test_a_version_that_is_not_semantic_is_refused(
    folded_model: onnx.ModelProto, equivalence: Equivalence
) -> None:
    with pytest.raises(ExportError, match=r"the model's version '1\.0' is not a semantic version"):
        attach(
            folded_model,
            version="1.0",
            labels=LABELS,
            provenance="{}",
            equivalence=asdict(equivalence),
            golden_samples="{}",
        )
    assert not folded_model.metadata_props


def test_attaching_metadata_leaves_the_graph_as_it_was_proved(
    network: nn.Sequential, folded_model: onnx.ModelProto, images: Tensor, tmp_path: Path
) -> None:
    graph = folded_model.graph.SerializeToString()
    equivalence = compare(network, folded_model.SerializeToString(), images[:10])
    attach(
        folded_model,
        version="2.3.4",
        labels=LABELS,
        provenance="{}",
        equivalence=asdict(equivalence),
        golden_samples="[]",
    )
    assert folded_model.graph.SerializeToString() == graph
    (tmp_path / "model.onnx").write_bytes(folded_model.SerializeToString())
    found = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert list(found) == [
        "name",
        "version",
        "labels",
        "provenance",
        "equivalence",
        "golden_samples",
    ]
    assert found["name"] == "fashion_lenet"
    assert found["version"] == "2.3.4"
    assert json.loads(found["labels"]) == list(LABELS)
    figures = json.loads(found["equivalence"])
    assert figures["images"] == figures["classes_equal"] == 10
    default = equivalence.folded["default"]
    assert figures["folded"]["default"]["max_error"] == pytest.approx(default.max_error)


# A whole export on another day, as the clock of Python has it.
ON_A_DAY = """
    import datetime, sys, time

    seconds = float(sys.argv[1])
    real = datetime.datetime

    class Clock(real):
        @classmethod
        def now(cls, tz=None):
            return real.fromtimestamp(seconds, tz)

    datetime.datetime, time.time = Clock, lambda: seconds
    assert datetime.datetime.now().timestamp() == seconds
    from export.__main__ import main
    sys.exit(main(sys.argv[2:]))
"""


def test_the_same_checkpoint_gives_the_same_file_on_every_day_and_number_of_threads(
    checkpoint: Path, small_test_set: Path, tmp_path: Path
) -> None:
    models = []
    for day, threads in ((0, 1), (20_000, 2)):
        out = tmp_path / str(day) / "model.onnx"
        arguments = (str(day * 86_400), checkpoint, "--out", out, "--data", small_test_set)
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(ON_A_DAY), *map(str, arguments)],
            cwd=Path(__file__).parents[3],
            env=os.environ | {"PYTHONHASHSEED": str(day), "OMP_NUM_THREADS": str(threads)},
            check=True,
            timeout=600,
        )
        models.append(out.read_bytes())
    assert models[0] == models[1]
