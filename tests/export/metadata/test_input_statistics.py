"""The training set's statistics before the first batch norm."""

import json
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ExportError
from export.metadata.input_statistics import (
    FLOOR,
    InputStatistics,
    drift_limit,
    measure,
    statistics,
)
from tests.export.networks import assert_untouched, state
from tests.export.test_released_model import CHECKPOINT, MODEL
from training.data.dataset import Split
from training.files.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def measured(original: nn.Sequential, images: Tensor) -> InputStatistics:
    return measure(original, images)


def by_hand(image: NDArray[np.uint8], weight: Any) -> NDArray[np.float64]:
    """The statistics of one image (28, 28), position by position."""
    x = image / 255
    y = np.zeros((len(weight), 24, 24))
    for row in range(24):
        for column in range(24):
            window = x[row : row + 5, column : column + 5]
            y[:, row, column] = (weight[:, 0] * window).sum((1, 2))
    inside = [2 <= row < 22 and 2 <= column < 22 for row in range(24) for column in range(24)]
    flat = y.reshape(len(weight), -1)
    patches = y[:, [1, 6, 11, 16, 21]][:, :, [1, 6, 11, 16, 21]].reshape(len(weight), -1)
    border = flat[:, np.logical_not(inside)].mean(1)
    square = (patches**2).mean(1) + FLOOR
    return np.concatenate([border, flat[:, inside].mean(1), np.log(square)])


@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 4), shades=st.integers(1, 256))
@settings(max_examples=20)
def test_the_statistics_are_those_of_a_convolution(seed: int, channels: int, shades: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, shades, (2, 1, 28, 28)).astype(np.uint8)
    weight = generator.normal(size=(channels, 1, 5, 5))
    found = statistics(torch.tensor(images), torch.tensor(weight))
    for row, image in zip(found, images, strict=True):
        np.testing.assert_allclose(row, by_hand(image[0], weight), rtol=0, atol=1e-9)


def test_a_distance_is_mahalanobis(measured: InputStatistics, images: Tensor) -> None:
    f = statistics(images, torch.tensor(measured.weight))
    z = (f - measured.mean) @ measured.whitening  # (N, F)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(18), atol=1e-6)
    inverse = np.linalg.inv(np.cov(f.T, bias=True))
    expected = np.einsum("ni,ij,nj->n", f - f.mean(0), inverse, f - f.mean(0))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1) ** 2, expected, rtol=1e-6)
    beyond = np.linalg.norm(z, axis=1) > measured.shift_limit
    assert beyond.sum() == 3  # 1 % of 300


def test_the_network_is_left_alone(network: nn.Sequential, images: Tensor) -> None:
    before = state(network)
    measure(network, images)
    assert_untouched(network, before)


def test_json_keeps_nine_digits(measured: InputStatistics) -> None:
    found = json.loads(measured.to_json())
    assert (found["images"], found["window"], found["border"]) == (300, 256, 2)
    for key in ("weight", "bias", "mean", "whitening", "brightness"):
        np.testing.assert_allclose(found[key], getattr(measured, key), rtol=1e-8)
    assert found["shift_limit"] == pytest.approx(measured.shift_limit, rel=1e-8)


@pytest.mark.parametrize("count", [1, 18])
def test_too_few_images_are_refused(network: nn.Sequential, images: Tensor, count: int) -> None:
    with pytest.raises(ExportError, match=f"the training set's {count} images have input statist"):
        measure(network, images[:count])


def test_images_of_one_shade_are_refused(network: nn.Sequential) -> None:
    images = torch.arange(200, dtype=torch.uint8).reshape(200, 1, 1, 1).expand(200, 1, 28, 28)
    with pytest.raises(ExportError, match="take more or other images, or leave the statistics out"):
        measure(network, images)


def test_a_network_that_begins_otherwise_is_refused(network: nn.Sequential, images: Tensor) -> None:
    with pytest.raises(ExportError, match="the network begins with Sigmoid and AvgPool2d"):
        measure(network[2:], images)


def test_the_limit_of_drift_is_that_of_a_normal_streams_means() -> None:
    z = np.random.default_rng(1).normal(size=(5000, 18))
    # |mean|^2 * 256 is chi-squared, 18 degrees of freedom: one in 10^4 is beyond 48, one in 10^7
    # beyond 64. The 2 million windows overlap, and count as fewer.
    limit = drift_limit(z - z.mean(0))
    assert 48 < limit**2 * 256 < 70


# The released model, held against the released checkpoint; the training set is not needed.


@pytest.fixture(scope="module")
def released() -> dict[str, Any]:
    properties = {p.key: p.value for p in onnx.load(MODEL).metadata_props}
    found: dict[str, Any] = json.loads(properties["input_statistics"])
    return found


def test_the_released_statistics_are_the_first_batch_norms(released: dict[str, Any]) -> None:
    """The moving mean is near, not equal, since training shifts, flips and cuts the images."""
    model = load_checkpoint(CHECKPOINT).model
    np.testing.assert_allclose(released["weight"], model[0].weight.detach(), rtol=1e-7)
    np.testing.assert_allclose(released["bias"], model[0].bias.detach(), rtol=1e-7)
    means = np.array(released["mean"][:12]).reshape(2, 6)
    expected = (176 * means[0] + 400 * means[1]) / 576 + released["bias"]
    np.testing.assert_allclose(expected, model[1].moving_mean.flatten(), atol=0.06)
    assert released["images"] == 60_000


def test_one_in_a_hundred_test_images_is_beyond_the_released_limit(
    released: dict[str, Any], real: Split
) -> None:
    weight = torch.tensor(released["weight"], dtype=torch.float64)
    f = statistics(real.images, weight)  # (N, 18)
    z = (f - released["mean"]) @ np.array(released["whitening"])
    beyond = (np.linalg.norm(z, axis=1) > released["shift_limit"]).mean()
    assert 0.005 < beyond < 0.015


def test_one_in_a_hundred_is_darker_or_brighter(measured: InputStatistics, images: Tensor) -> None:
    low, high = measured.brightness
    means = images.double().mean((1, 2, 3))
    assert (int((means < low).sum()), int((means > high).sum())) == (2, 2)  # of 300
    assert low == pytest.approx(float(np.quantile(means.numpy(), 0.005)))
    assert high == pytest.approx(float(np.quantile(means.numpy(), 0.995)))


def test_a_convolution_without_bias_has_a_bias_of_zeros(
    network: nn.Sequential, images: Tensor
) -> None:
    expected = measure(network, images)
    network[0].bias = None
    found = measure(network, images)
    np.testing.assert_array_equal(found.bias, np.zeros(6))
    np.testing.assert_array_equal(found.mean, expected.mean)  # which is without bias anyway
