"""Correct files pass and wrong ones fail, from any exporter, with the reason and the node."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import pytest
from onnx import helper, numpy_helper

from export import faults, verify_network
from export.verification.measurement import DEFAULT, DISABLED
from export.verification.verification import ALLOWANCE, DATA, Verification
from tests.export.networks import assert_untouched, state
from tests.export.verification.networks import (
    MEAN,
    MUTATIONS,
    NETWORKS,
    STD,
    FromBytes,
    change_convolution,
    export_by_torch,
    pictures,
    trained,
)

IMAGES = pictures(24)
FILE = (DEFAULT, DISABLED)


def verify(name: str, path: Path, **options: str) -> Verification:
    return verify_network(trained(name), path, IMAGES, mean=MEAN, std=STD, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_right_file_passes(name: str, files: dict[str, Path]) -> None:
    model = trained(name)
    before = state(model)
    found = verify_network(model, files[name], IMAGES, mean=MEAN, std=STD)
    assert faults(found) == []
    assert_untouched(model, before)
    assert found.unknown is None
    assert found.graph is not None
    assert found.graph.error <= found.graph.limit < 1e-5
    assert found.measured[DATA].images == len(IMAGES)
    assert found.start is None
    assert found.undecided() < len(IMAGES)


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("index", [0, 3, -1])
def test_every_mutation_is_caught_at_every_depth(
    mutation: str, index: int, residual_file: onnx.ModelProto, tmp_path: Path
) -> None:
    name = change_convolution(residual_file, index, MUTATIONS[mutation])
    onnx.save(residual_file, tmp_path / "wrong.onnx")
    found = verify("residual", tmp_path / "wrong.onnx")
    told = faults(found)
    assert told
    if found.start is not None:
        assert name in found.start.weights
    if mutation == "weight":
        (fault,) = found.differences
        assert fault.startswith("A: 1 of ")
        assert f" of its tensor {name} do not follow from " in fault
        assert fault.endswith("is off by a factor of 1.001")
    else:
        assert told[0].startswith("A: in float64 its graph is off by ")
        assert found.start is not None


def test_a_wrong_fold_of_a_shared_convolution_is_caught(
    files: dict[str, Path], tmp_path: Path
) -> None:
    """As an earlier release of an exporter folded it: both calls with the same batch norm."""
    proto = onnx.load(files["shared"])
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    _, first, second = (node for node in proto.graph.node if node.op_type == "Conv")
    if len(first.input) == 2:  # torch's exporter leaves such batch norms as they are
        norms = [n for n in proto.graph.node if n.op_type == "BatchNormalization"]
        for own, other in zip(norms[0].input[1:], norms[1].input[1:], strict=True):
            tensors[other].CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensors[own]), other)
            )
    else:
        second.input[1], second.input[2] = first.input[1:]
    onnx.save(proto, tmp_path / "wrong.onnx")
    told = faults(verify("shared", tmp_path / "wrong.onnx"))
    assert {fault[:2] for fault in told} >= {"A:", "B:"}


def test_batch_norms_that_are_left_are_no_fault(tmp_path: Path) -> None:
    path = export_by_torch(trained("residual"), tmp_path / "m.onnx", fold=False)
    assert "BatchNormalization" in {node.op_type for node in onnx.load(path).graph.node}
    found = verify("residual", path)
    assert faults(found) == []
    assert found.graph is not None
    assert found.graph.error < 1e-12


@pytest.mark.parametrize("batch", [1, 5, 32])
def test_a_fixed_batch(batch: int, tmp_path: Path) -> None:
    path = export_by_torch(trained("spread"), tmp_path / "m.onnx", dynamic=False, batch=batch)
    found = verify("spread", path)
    assert faults(found) == []
    assert found.measured[DATA].images == len(IMAGES)


@pytest.mark.parametrize("opset", [9, 13, 20])
def test_an_opset_of_another_time(opset: int, tmp_path: Path) -> None:
    path = export_by_torch(trained("residual"), tmp_path / "m.onnx", opset=opset)
    found = verify("residual", path)
    assert faults(found) == []
    assert found.unknown is None


def test_a_file_that_takes_bytes(tmp_path: Path) -> None:
    model = FromBytes(trained("residual")).eval()
    path = export_by_torch(model, tmp_path / "m.onnx", images=IMAGES)
    assert faults(verify("residual", path)) == []
    told = faults(verify_network(trained("residual"), path, IMAGES, mean=MEAN, std=0.2))
    assert {fault[:2] for fault in told} >= {"A:", "B:"}


def test_external_data(residual_file: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(
        residual_file,
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert faults(verify("residual", tmp_path / "m.onnx")) == []
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(Exception, match=r"ONNX Runtime cannot load .*weights\.bin"):
        verify("residual", tmp_path / "m.onnx")


def test_an_operator_that_is_not_known_leaves_b_and_c(
    residual_file: onnx.ModelProto, tmp_path: Path
) -> None:
    for node in residual_file.graph.node:
        for index, name in enumerate(node.output):
            if name == "scores":
                node.output[index] = "before"
    residual_file.graph.node.append(
        helper.make_node("Mod", ["before", "large"], ["scores"], fmod=1)
    )
    large = numpy_helper.from_array(np.array(1e30, np.float32), "large")
    residual_file.graph.initializer.append(large)
    onnx.save(residual_file, tmp_path / "m.onnx")
    found = verify("residual", tmp_path / "m.onnx")
    assert (faults(found), found.graph, found.unknown) == ([], None, "Mod")
    change_convolution(residual_file, 2, MUTATIONS["channels"])
    onnx.save(residual_file, tmp_path / "m.onnx")
    told = faults(verify("residual", tmp_path / "m.onnx"))
    assert {fault[:2] for fault in told} >= {"B:", "C:"}


def test_eval_modes_luck_on_one_image_is_no_yardstick(files: dict[str, Path]) -> None:
    """A correct model was rejected whose error on an image of 255s was 8.3 times eval mode's."""
    found = verify("residual", files["residual"])
    measured = dict(found.measured)
    for kind, own_error, error in (("all 255", 0.01, 9.0), ("all 0", 4.0, 1.0)):
        runs = {
            name: replace(run, max_error=found.own_error * (error if name in FILE else own_error))
            for name, run in measured[kind].runs.items()
        }
        measured[kind] = replace(measured[kind], runs=runs)
    assert faults(replace(found, measured=measured)) == []


def test_nan_fails(residual_file: onnx.ModelProto, tmp_path: Path) -> None:
    def spoil(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bias[0] = np.nan
        return weight, bias

    change_convolution(residual_file, -1, spoil)
    onnx.save(residual_file, tmp_path / "m.onnx")
    told = faults(verify("residual", tmp_path / "m.onnx"))
    assert {fault[:2] for fault in told} >= {"A:", "B:"}


def test_a_class_is_wrong_only_where_rounding_cannot_decide(files: dict[str, Path]) -> None:
    found = verify("residual", files["residual"])
    allowed = found.allowed(DATA)
    assert allowed == ALLOWANCE * found.own_error
    margins = found.measured[DATA].margins
    assert found.undecided() == int((margins <= 2 * allowed).sum())
