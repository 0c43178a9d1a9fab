"""Whether a stream has changed."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from service.drift.statistics import METADATA_KEY, InputStatistics
from service.drift.window import DriftWindow
from tests.service.models import metadata

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def statistics() -> InputStatistics:
    return InputStatistics.parse(metadata()[METADATA_KEY])


def test_there_is_no_drift_until_the_window_is_full(statistics: InputStatistics) -> None:
    window = DriftWindow(statistics)
    assert window.drift == 0
    far = np.full((statistics.window, 18), 9.0, np.float32)
    window.add(far[1:])
    assert window.drift == 0
    window.add(far[:1])
    assert window.drift == pytest.approx(9 * 18**0.5 / statistics.drift_limit)


def test_only_the_latest_images_count(statistics: InputStatistics) -> None:
    window, again = DriftWindow(statistics), DriftWindow(statistics)
    rows = np.random.default_rng(0).normal(size=(1000, 18)).astype(np.float32)
    for start in range(0, 1000, 77):
        window.add(rows[start : start + 77])
    again.add(rows)
    assert window.drift == again.drift
    mean = rows[-statistics.window :].mean(axis=0, dtype=np.float64)
    assert window.drift == pytest.approx(np.linalg.norm(mean) / statistics.drift_limit)


def stream(
    statistics: InputStatistics, images: NDArray[np.uint8], changed: NDArray[np.uint8]
) -> list[float]:
    """The drift after each image of a stream whose images are changed from some image on."""
    window = DriftWindow(statistics)
    found = []
    for row in statistics.whitened(np.concatenate([images, changed])[:, None]):
        window.add(row[None])
        found.append(window.drift)
    return found


def test_a_clean_stream_raises_no_alarm(
    statistics: InputStatistics, images: NDArray[np.uint8]
) -> None:
    order = np.random.default_rng(2).permutation(len(images))[:3000]
    found = stream(statistics, images[order], images[:0])
    assert 0 < max(found) < 1


def brighter(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.minimum(images * 1.2, 255).astype(np.uint8)


def shifted(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(images, ((0, 0), (0, 0), (4, 0)))[:, :, :28]


def blurred(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return windows.mean((3, 4)).astype(np.uint8)  # (N, 28, 28)


@pytest.mark.parametrize("change", [brighter, shifted, blurred])
def test_a_stream_that_changes_raises_one_within_500_images(
    statistics: InputStatistics, images: NDArray[np.uint8], change: Change
) -> None:
    order = np.random.default_rng(3).permutation(len(images))[:1000]
    found = stream(statistics, images[order[:500]], change(images[order[500:]]))
    assert max(found[:500]) < 1
    assert max(found[500:]) > 1
