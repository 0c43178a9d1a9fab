"""The proof accepts a correct model, and no other."""

import copy
import dataclasses
import math

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.errors import EquivalenceError
from export.proof.equivalence import Deviation, Equivalence, check, compare, reference_logits
from tests.export.conftest import FEW, IMAGES
from tests.export.inference import run
from tests.export.mutants import MUTANTS, Mutant, emitted, replace
from tests.export.networks import assert_untouched, state
from tests.export.proofs import figures


@pytest.mark.parametrize("number", [1, FEW, IMAGES])
def test_a_right_model_passes_and_the_network_is_left_alone(
    network: nn.Sequential, folded_model: onnx.ModelProto, images: Tensor, number: int
) -> None:
    images = images[:number]
    before, pixels = state(network), images.clone()
    found = compare(network, folded_model.SerializeToString(), images)
    check(found)
    assert_untouched(network, before)
    assert torch.equal(images, pixels)
    assert not network.training
    assert found.images == found.classes_equal == len(images)
    assert list(found.folded) == ["default", "disabled"]


def test_the_graph_is_proved_as_it_is_served_and_as_it_stands(
    network: nn.Sequential,
    folded_model: onnx.ModelProto,
    images: Tensor,
    levels: list[ort.GraphOptimizationLevel],
) -> None:
    found = compare(network, folded_model.SerializeToString(), images[:1])
    assert dict(zip(found.folded, levels, strict=True)) == {
        "default": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }


def test_the_figures_are_what_they_say(
    network: nn.Sequential, folded_model: onnx.ModelProto, images: Tensor
) -> None:
    """Against a computation that shares only torch and ONNX Runtime with compare()."""
    replace(folded_model, "11.bias", lambda b: b.__iadd__(np.linspace(0, 0.5, 10)))
    found = compare(network, folded_model.SerializeToString(), images)
    logits, probabilities = run(folded_model, images)
    with torch.no_grad():
        float32 = network(images.float() / 255)  # (N, K)
        exact = copy.deepcopy(network).double()(images.double() / 255)  # (N, K)
    error = (torch.from_numpy(logits).double() - exact).abs()
    default = found.folded["default"]
    assert default.max_error == pytest.approx(float(error.max()), rel=1e-9)
    assert default.max_error == pytest.approx(0.5, abs=1e-4)
    assert default.mean_error == pytest.approx(float(error.mean()), rel=1e-9)
    assert default.worst_image == int(error.amax(dim=1).argmax())
    classes = torch.from_numpy(logits).argmax(1)
    assert default.classes_equal == int((classes == exact.argmax(1)).sum()) < len(images)
    assert found.classes_equal == int((classes == float32.argmax(1)).sum())
    difference = torch.from_numpy(logits).double() - float32
    assert found.max_difference == pytest.approx(float(difference.abs().max()), rel=1e-4)
    difference = torch.from_numpy(probabilities).double() - float32.softmax(1)
    assert found.max_probability_difference == pytest.approx(
        float(difference.abs().max()), rel=1e-4
    )
    best = exact.topk(2, dim=1).values  # (N, 2)
    assert found.smallest_margin == pytest.approx(float((best[:, 0] - best[:, 1]).min()), rel=1e-6)
    own = (float32.double() - exact).abs()
    assert found.eval_mode.max_error == pytest.approx(float(own.max()), rel=0.5)


def test_the_reference_is_eval_mode_in_float64(network: nn.Sequential, images: Tensor) -> None:
    before = state(network)
    found = reference_logits(network, images)
    assert_untouched(network, before)
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(images.double() / 255)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_model_fails(
    mutant: Mutant, network: nn.Sequential, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = mutant(network, monkeypatch)
    found = compare(network, wrong.SerializeToString(), images[:FEW])
    own = found.eval_mode.max_error
    assert not found.folded["default"].max_error <= 3 * own  # by no hair's breadth
    with pytest.raises(EquivalenceError, match="not the network it came from") as caught:
        check(found)
    for optimisation in ("default", "disabled"):
        assert (
            f"with optimisation {optimisation} its largest logit error against float64 is "
            in str(caught.value)
        )


def test_no_model_is_equal_to_a_network_with_nan_in_it(
    network: nn.Sequential, images: Tensor
) -> None:
    model = emitted(network).SerializeToString()
    with torch.no_grad():
        network[12].weight[0, 0] = math.nan
    found = compare(network, model, images)
    with pytest.raises(EquivalenceError, match="error against float64 is nan"):
        check(found)


def with_folded(optimisation: str, **changes: float) -> Equivalence:
    found = figures()
    changed = dataclasses.replace(found.folded[optimisation], **changes)
    return dataclasses.replace(found, folded={**found.folded, optimisation: changed})


def test_eval_modes_own_error_is_allowed() -> None:
    check(figures())
    check(with_folded("default", max_error=9e-6))
    check(with_folded("disabled", max_error=1.8e-5))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            with_folded("default", max_error=9.01e-6),
            "with optimisation default its largest logit error against float64 is 9.01e-06 "
            "(image 5), expected at most 9e-06: eval mode's own is 9e-06",
        ),
        (
            with_folded("disabled", max_error=1.81e-5),
            "with optimisation disabled its largest logit error against float64 is 1.81e-05 "
            "(image 5), expected at most 1.8e-05",
        ),
        (with_folded("default", max_error=math.nan), "error against float64 is nan (image 5)"),
        (with_folded("default", max_error=math.inf), "error against float64 is inf (image 5)"),
        (
            with_folded("default", classes_equal=99),
            "with optimisation default 1 of 100 predicted classes are not the float64 reference's",
        ),
        (
            with_folded("disabled", classes_equal=98),
            "with optimisation disabled 2 of 100 predicted classes are not the float64",
        ),
        (
            figures(classes_equal=97),
            "3 of 100 predicted classes are not those of eval mode in float32",
        ),
    ],
)
def test_every_fault_is_named_with_its_figures(found: Equivalence, text: str) -> None:
    with pytest.raises(EquivalenceError) as caught:
        check(found)
    assert str(caught.value).startswith(
        "the folded model is not the network it came from, so it is not written: "
    )
    assert text in str(caught.value)
    assert ";" not in str(caught.value)  # this fault and no other


def test_all_faults_are_told_at_once() -> None:
    bad = Deviation(max_error=1.0, mean_error=0.5, worst_image=0, classes_equal=0)
    with pytest.raises(EquivalenceError) as caught:
        check(figures(folded={"default": bad, "disabled": bad}, classes_equal=0))
    assert len(str(caught.value).split("; ")) == 5
