"""The noise of a batch's statistics is the textbook's, and the study draws what it finds."""

import pytest
import torch

from training.data.dataset import Split
from training.studies import batch_size
from training.studies.batch_size import LAYERS, statistics_noise, study, study_figure


@pytest.mark.parametrize("shape", [(40_000, 2), (10_000, 2, 2, 2)])
@pytest.mark.parametrize("size", [4, 25])
def test_the_noise_of_independent_values_is_the_textbook_s(
    shape: tuple[int, ...], size: int
) -> None:
    X = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    values = size * X[0, 0].numel()
    mean_noise, variance_noise = statistics_noise(X, size)
    assert mean_noise == pytest.approx(values**-0.5, rel=0.05)
    assert variance_noise == pytest.approx((2 * (values - 1)) ** 0.5 / values, rel=0.08)


def test_small_batches_are_noisier_and_cost_accuracy(
    real: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "IMAGES", 512)
    monkeypatch.setattr(batch_size, "SIZES", (4, 32, 256))
    found = study(real, seed=0)
    assert tuple(found["noise"]) == LAYERS
    for noise in found["noise"].values():
        assert noise["mean"] == sorted(noise["mean"], reverse=True)
        assert noise["variance"] == sorted(noise["variance"], reverse=True)
    worst, *_, best = found["batch_accuracy"]
    assert worst < best - 0.1
    assert found["population_accuracy"] > worst + 0.1
    accuracy = study_figure([found, found]).axes[2]
    drawn = [list(line.get_ydata()) for line in accuracy.get_lines()]
    assert drawn == [found["batch_accuracy"], [found["population_accuracy"]] * 3]
