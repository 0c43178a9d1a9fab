"""What `python -m export inspect` prints for our models, others' models, and other files."""

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from torch import Tensor, nn

from export.errors import ExportError
from export.inspection import WIDTH, inspect_model
from export.metadata.input_statistics import measure
from export.metadata.properties import attach, golden_samples, provenance
from export.proof.equivalence import compare
from tests.export.networks import metadata
from training.data.dataset import Split
from training.data.fashion_mnist import LABELS


@pytest.fixture(scope="module")
def whole(
    original: nn.Sequential, folded_bytes: bytes, images: Tensor, real: Split
) -> onnx.ModelProto:
    """A model with all its metadata."""
    model = onnx.load_from_string(folded_bytes)
    equivalence = compare(original, folded_bytes, images[:50])
    attach(
        model,
        version="2.3.4-rc.1",
        labels=LABELS,
        provenance=json.dumps(provenance(metadata(), "abc123", {"onnx": "1.20"})),
        equivalence=asdict(equivalence),
        golden_samples=golden_samples(original, images, real.labels[:300], equivalence),
        input_statistics=measure(original, images).to_json(),
    )
    return model


@pytest.fixture
def proto(whole: onnx.ModelProto) -> onnx.ModelProto:
    """Each test's own."""
    return copy.deepcopy(whole)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def inspect(path: Path, model: onnx.ModelProto) -> list[str]:
    path.write_bytes(model.SerializeToString())
    lines = inspect_model(path).splitlines()
    assert max(map(len, lines)) <= max(WIDTH, len(str(path)))
    return lines


def section(lines: list[str], title: str) -> list[tuple[str, str]]:
    """A section's rows, up to the empty line."""
    rows = []
    for line in lines[lines.index(title) + 1 :]:
        if not line:
            break
        name, _, value = line.strip().partition("  ")
        rows.append((name, value.strip()))
    return rows


def test_it_tells_the_file(path: Path, proto: onnx.ModelProto) -> None:
    rows = section(inspect(path, proto), str(path))
    content = path.read_bytes()
    assert rows[:7] == [
        ("size", f"{len(content):,} bytes"),
        ("SHA-256", hashlib.sha256(content).hexdigest()),
        ("opset", "13"),
        ("IR version", "7"),
        ("producer", f"{proto.producer_name} {proto.producer_version}"),
        ("graph", "lenet_bn_folded, 20 nodes, 44,426 parameters"),
        ("about", rows[6][1]),
    ]
    assert rows[6][1].startswith("LeNet-BN (Dive into Deep Learning")


def test_it_tells_what_goes_in_and_out(path: Path, proto: onnx.ModelProto) -> None:
    lines = inspect(path, proto)
    inputs, outputs = section(lines, "Inputs"), section(lines, "Outputs")
    assert inputs[0] == ("image", "uint8 (N, 1, 28, 28)")
    assert inputs[1][0].startswith("Axes: image (as many as you like), channel, row from")
    assert ("logits", "float32 (N, 10)") in outputs
    assert ("probabilities", "float32 (N, 10)") in outputs


def test_it_lays_the_nodes_out_as_a_table(path: Path, proto: onnx.ModelProto) -> None:
    lines = inspect(path, proto)
    start = next(i for i, line in enumerate(lines) if line.startswith("Nodes "))
    table = [line.split() for line in lines[start : start + 21]]
    assert table[0] == ["Nodes", "operator", "takes", "gives", "parameters"]
    assert table[1] == ["pixels", "Cast", "image", "float32", "(N,", "1,", "28,", "28)"]
    assert table[2][:3] == ["conv_0", "Conv", "pixels"]
    assert " ".join(table[2][3:]) == "float32 (N, 6, 24, 24) 156 float32"
    assert " ".join(table[10]) == "gemm_7 Gemm gemm_7_input float64 (N, 120) 30,840 float64"
    assert " ".join(table[20]) == "softmax Softmax logits float32 (N, 10)"


def test_it_tells_all_the_metadata(path: Path, proto: onnx.ModelProto) -> None:
    lines = inspect(path, proto)
    assert section(lines, "Metadata") == [
        ("name", "fashion_lenet"),
        ("version", "2.3.4-rc.1"),
        *((f"label {index}", label) for index, label in enumerate(LABELS)),
    ]
    assert section(lines, "Provenance") == [
        *(("recipe", "random"), ("seed", "7"), ("epochs", "0"), ("test_accuracy", "0.1")),
        ("checkpoint_sha256", "abc123"),
        *(("versions.python", "3.11.2"), ("versions.onnx", "1.20")),
    ]
    figures = dict(section(lines, "Equivalence"))
    (found,) = (p.value for p in proto.metadata_props if p.key == "equivalence")
    assert figures["images"] == figures["folded.disabled.classes_equal"] == "50"
    assert figures["folded.default.max_error"] == (
        f"{json.loads(found)['folded']['default']['max_error']:.3g}"
    )
    samples = dict(section(lines, "Golden samples"))
    assert samples["images"] == "10, with 10 logits each"
    assert samples["tolerance"].endswith(", the most that a device may be off in a logit")
    statistics = dict(section(lines, "Input statistics"))
    assert statistics["images"] == "300, with 18 statistics each"
    assert statistics["drift_limit"].endswith(", of that of 256 images' mean")


def others() -> onnx.ModelProto:
    """A model that is not ours: old, with a nameless node, and nothing documented."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "others",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["batch", None, 3]),
            helper.make_tensor_value_info("one", TensorProto.FLOAT16, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["batch", None, 3])],
        [helper.make_tensor("one", TensorProto.FLOAT16, [], [1.0])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3)


def test_of_anyones_model_it_says_what_is_missing(path: Path) -> None:
    lines = inspect(path, others())
    missing = "missing: `python -m export` writes it"
    file = dict(section(lines, str(path)))
    assert file["graph"] == "others, 1 nodes, 1 parameters"
    assert file["producer"] == "not named"
    assert file["about"] == "not documented"
    assert section(lines, "Inputs") == [("x", "float16 (batch, ?, 3)"), ("not documented", "")]
    assert any(
        " ".join(line.split()) == "(no name) Add x float16 (batch, ?, 3) 1 float16"
        for line in lines
    )
    assert section(lines, "Metadata") == [
        *(("name", missing), ("version", missing), ("label", missing)),
    ]
    for title in ("Provenance", "Equivalence", "Golden samples", "Input statistics"):
        assert section(lines, title) == [(missing, "")]


@pytest.mark.parametrize(
    ("key", "value", "title", "text"),
    [
        ("labels", "no JSON", "Metadata", "broken: JSONDecodeError: Expecting value"),
        ("labels", "7", "Metadata", "broken: TypeError"),
        ("provenance", "{", "Provenance", "broken: JSONDecodeError"),
        ("equivalence", "", "Equivalence", "broken: JSONDecodeError"),
        ("golden_samples", "{}", "Golden samples", "broken: KeyError: 'logits'"),
        ("golden_samples", '{"logits": []}', "Golden samples", "broken: IndexError"),
        ("golden_samples", "[]", "Golden samples", "broken: TypeError"),
        ("input_statistics", "{}", "Input statistics", "broken: KeyError: 'images'"),
    ],
)
def test_broken_metadata_is_named(
    path: Path, proto: onnx.ModelProto, key: str, value: str, title: str, text: str
) -> None:
    (entry,) = (entry for entry in proto.metadata_props if entry.key == key)
    entry.value = value
    rows = section(inspect(path, proto), title)
    assert any(text in " ".join(row) for row in rows)


def test_no_text_of_a_model_commands_the_terminal(path: Path, proto: onnx.ModelProto) -> None:
    proto.graph.node[0].name = "\x1b[2Jpixels"
    proto.metadata_props.add(key="author", value="\x1b]0;mine\x07")
    lines = inspect(path, proto)
    assert "author" in dict(section(lines, "Metadata"))
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read the model {path}: No such file or directory"),
        (b"", "{path} is not a valid ONNX model"),
        (b"no model", "{path} is not a complete ONNX model"),
    ],
)
def test_what_is_no_model_is_refused(path: Path, content: bytes | None, text: str) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError) as caught:
        inspect_model(path)
    assert str(caught.value).startswith(text.format(path=path))


def test_a_model_cut_off_is_refused(path: Path, proto: onnx.ModelProto) -> None:
    path.write_bytes(proto.SerializeToString()[:-1000])
    with pytest.raises(ExportError, match="is not a complete ONNX model"):
        inspect_model(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"cannot read the model {tmp_path}: Is a directory"):
        inspect_model(tmp_path)
