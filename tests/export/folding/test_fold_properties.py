"""Random networks, in float64 and in float32: folding changes none of their outputs."""

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from export.folding.fold import fold, fold_with_report
from tests.export.networks import assert_untouched, layers_of, state
from tests.export.rounding import UNIT
from tests.export.stages import Stage, is_norm, stages
from tests.thorough import examples

RELATIVE = 1e-12

# How many times eval mode's root mean square error the folded network's may be in float32, where
# eval mode's counts as one rounding of the magnitudes summed if it is less, by luck. Of 5,000
# networks 81 % were no worse than eval mode, and the worst was 2.6 times so.
FACTOR = 5.0


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """For tensors this small, threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_folds(folded: nn.Module, stage: Stage) -> None:
    with torch.no_grad():
        error = (folded(stage.X) - stage.layers(stage.X)).abs()
    bound = RELATIVE * stage.magnitude()
    assert (error <= bound).all(), f"off by {float((error / bound).max())} times what may be"


@settings(max_examples=examples(20, thorough=1500), deadline=None)
@given(stage=stages())
def test_a_folded_network_in_float64_is_the_network(stage: Stage) -> None:
    network = stage.network
    before = state(network)
    folding = fold_with_report(network, stage.X)
    assert_untouched(network, before)
    assert not any(is_norm(module) for module in folding.network.modules())
    assert len(folding.steps) == sum(map(is_norm, stage.layers))
    assert folding.left_over == ()
    assert_folds(folding.network, stage)


@settings(max_examples=examples(10, thorough=750), deadline=None)
@given(stage=stages(orders=(0.5, 2.0)))
def test_a_folded_network_in_float32_is_no_worse_than_eval_mode(stage: Stage) -> None:
    eval_mode = stage.layers.float()
    X = stage.X.float()
    exact = Stage(copy.deepcopy(eval_mode).double(), X.double(), "flat")
    folded = layers_of(fold(eval_mode, X), eval_mode)
    with torch.no_grad():
        right, M = exact.layers(exact.X), exact.magnitude()
        eval_error = eval_mode(X).double() - right
        error = copy.deepcopy(folded).float()(X).double() - right
    # What can be proved: n roundings of the magnitudes of n products, a bias, and both roundings
    # of a weight, and folding never makes these magnitudes larger than eval mode's.
    own = Stage(folded, exact.X, "flat").magnitude()
    n = folded[-1].weight.numel() // right.shape[1] + 4
    assert (own <= M * (1 + 1e-12)).all()
    assert (error.abs() <= n * UNIT[torch.float32] * own + 1e-37).all()
    # What is seen.
    floor = UNIT[torch.float32] * rms(M)
    assert rms(error) <= FACTOR * max(rms(eval_error), floor)


def rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
