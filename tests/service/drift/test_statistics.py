"""The fast statistics compared with their definition in float64."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.metadata import input_statistics as definition
from service.drift.statistics import IMAGES_AT_ONCE, METADATA_KEY, InputStatistics
from tests.service.models import metadata


@pytest.fixture(scope="module")
def text() -> str:
    """As the released model carries it."""
    return metadata()[METADATA_KEY]


@pytest.fixture(scope="module")
def statistics(text: str) -> InputStatistics:
    return InputStatistics.parse(text)


def defined(text: str, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(f - m) L (N, 3C) in units of the limit, by the definition."""
    content = json.loads(text)
    weight, mean, whitening = (
        torch.tensor(content[key], dtype=torch.float64) for key in ("weight", "mean", "whitening")
    )
    f = torch.tensor(definition.statistics(torch.tensor(images[:, None]), weight))
    return ((f - mean) @ whitening).numpy() / float(content["shift_limit"])


def test_real_images(text: str, statistics: InputStatistics, images: NDArray[np.uint8]) -> None:
    expected = defined(text, images[:1000])
    found = statistics.whitened(images[:1000, None])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    shifts = statistics.mahalanobis_distances(images[:1000, None])
    np.testing.assert_allclose(shifts, np.linalg.norm(expected, axis=1), rtol=2e-5)


@given(seed=st.integers(0, 2**32 - 1), low=st.integers(0, 255), high=st.integers(0, 255))
@settings(max_examples=50)
def test_any_images(text: str, statistics: InputStatistics, seed: int, low: int, high: int) -> None:
    """Of a bright image with little in it float32 leaves the variance four digits."""
    low, high = min(low, high), max(low, high)
    generator = np.random.default_rng(seed)
    images = generator.integers(low, high + 1, (3, 28, 28)).astype(np.uint8)
    expected = np.linalg.norm(defined(text, images), axis=1)
    np.testing.assert_allclose(
        statistics.mahalanobis_distances(images[:, None]), expected, rtol=5e-3
    )


@given(count=st.integers(1, 3 * IMAGES_AT_ONCE))
@settings(max_examples=20)
def test_in_a_batch_and_alone(
    statistics: InputStatistics, images: NDArray[np.uint8], count: int
) -> None:
    batch = images[:count, None]
    alone = [statistics.mahalanobis_distances(image[None])[0] for image in batch]
    np.testing.assert_allclose(statistics.mahalanobis_distances(batch), alone, rtol=2e-5)


def test_the_mean_of_a_channel_comes_back(
    text: str, statistics: InputStatistics, images: NDArray[np.uint8]
) -> None:
    content = json.loads(text)
    weight = torch.tensor(content["weight"], dtype=torch.float64)
    x = torch.tensor(images[:50, None]).double() / 255
    y = torch.nn.functional.conv2d(x, weight) + torch.tensor(content["bias"]).reshape(1, -1, 1, 1)
    found = statistics.channel_means(defined(text, images[:50]).mean(axis=0))
    np.testing.assert_allclose(found, y.mean((0, 2, 3)), atol=1e-5)
    expected = statistics.channel_means(np.zeros(18))
    np.testing.assert_allclose(statistics.expected_means, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "weight",
            [1.0],
            r"its weight: expected .* of shape \(6, 1, 5, 5\), got shape \(1,\)",
        ),
        ("mean", [0.0] * 17, r"its mean: expected .* of shape \(18,\), got shape \(17,\)"),
        ("mean", [float("nan")] * 18, r"its mean: expected finite numbers of shape \(18,\)"),
        ("whitening", 7, r"its whitening: .* \(18, 18\), got shape \(\)"),
        ("brightness", [1, 2, 3], r"its brightness: .* got shape \(3,\)"),
        ("shift_limit", 0, "its shift_limit: expected a positive finite number, got 0"),
        (
            "drift_limit",
            float("inf"),
            "its drift_limit: expected a positive finite number, got inf",
        ),
        ("window", -1, "its window: expected a positive finite number, got -1"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputStatistics.parse(json.dumps(json.loads(text) | {key: value}))


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"bias": "x"}'])
def test_what_is_something_else_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        InputStatistics.parse(text)
