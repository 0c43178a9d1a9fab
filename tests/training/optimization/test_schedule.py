"""The learning rate follows its recipe."""

from dataclasses import replace

import pytest
import torch

from training.optimization.schedule import learning_rate
from training.recipes import SEED

ONE_CYCLE = replace(SEED, schedule="one_cycle", learning_rate=0.01, warm_up=0.2)


def rates(recipe, steps: int) -> list[float]:  # type: ignore[no-untyped-def]
    return [learning_rate(recipe, step, steps) for step in range(steps)]


def test_constant_stays() -> None:
    assert set(rates(SEED, 20)) == {1.0}


def test_cosine_falls_from_the_highest_rate_to_nearly_zero() -> None:
    found = rates(replace(SEED, schedule="cosine"), 100)
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert found[50] == pytest.approx(0.5)
    assert found[-1] < 1e-3


def test_one_cycle_is_torchs() -> None:
    steps = 101  # torch reaches zero on its last step, we on the step after ours
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.01,
        total_steps=steps,
        pct_start=21 / steps,
        div_factor=25,
        final_div_factor=1e12,
        cycle_momentum=False,
    )
    expected = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        optimizer.step()
        torchs.step()
        expected.append(optimizer.param_groups[0]["lr"])
    found = [learning_rate(ONE_CYCLE, step, 100) for step in range(101)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_one_cycle_peaks_once_where_the_warm_up_ends() -> None:
    found = rates(ONE_CYCLE, 100)
    assert found[0] == pytest.approx(0.0004)
    assert found.index(max(found)) == 20
    assert max(found) == pytest.approx(0.01)
    assert found[:21] == sorted(found[:21])
    assert found[20:] == sorted(found[20:], reverse=True)


def test_without_warm_up_one_cycle_starts_at_the_top() -> None:
    assert learning_rate(replace(ONE_CYCLE, warm_up=0.0), 0, 10) == pytest.approx(0.01)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_the_last_rate_can_stay_above_zero(schedule: str) -> None:
    recipe = replace(ONE_CYCLE, schedule=schedule, final_rate=0.1)
    found = rates(recipe, 1000)
    assert max(found) == pytest.approx(0.01)
    assert found[-1] == pytest.approx(0.001, rel=1e-3)
