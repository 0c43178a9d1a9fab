"""The reports on images that are unlike the training set."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.drift.report import explain_outliers
from service.drift.statistics import METADATA_KEY, InputStatistics
from tests.service.models import metadata

NEGATED = "looks negated: light background?"
NOISE = "looks like noise: neighbouring pixels have little in common"
BLANK = "looks blank: one shade all over"


@pytest.fixture(scope="module")
def statistics() -> InputStatistics:
    return InputStatistics.parse(metadata()[METADATA_KEY])


def unusual(statistics: InputStatistics, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images[statistics.mahalanobis_distances(images[:, None]) > 1]


def test_negated_pictures(statistics: InputStatistics, images: NDArray[np.uint8]) -> None:
    found = explain_outliers(statistics, 255 - images[:300])
    assert found.count(NEGATED) > 290


@pytest.mark.parametrize("shade", [0, 1, 128, 255])
def test_blank_pictures(statistics: InputStatistics, shade: int) -> None:
    assert explain_outliers(statistics, np.full((1, 28, 28), shade, np.uint8)) == [BLANK]


def test_noise(statistics: InputStatistics) -> None:
    generator = np.random.default_rng(0)
    uniform = generator.integers(0, 256, (100, 28, 28)).astype(np.uint8)
    gaussian = np.clip(generator.normal(128, 40, (100, 28, 28)), 0, 255).astype(np.uint8)
    assert set(explain_outliers(statistics, np.concatenate([uniform, gaussian]))) == {NOISE}


def test_brightness(statistics: InputStatistics) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 10:14, 8:20] = 150
    images[1, 2:26, 2:26] = 230
    assert explain_outliers(statistics, images) == [
        "darker than the training images",
        "brighter than the training images",
    ]


def test_no_images(statistics: InputStatistics) -> None:
    assert explain_outliers(statistics, np.zeros((0, 28, 28), np.uint8)) == []


def test_what_is_odd_in_no_way_that_has_a_name(
    statistics: InputStatistics, images: NDArray[np.uint8]
) -> None:
    found = explain_outliers(statistics, unusual(statistics, images))
    assert not {BLANK, NEGATED} & set(found)
    assert found.count("unlike the training images") > len(found) / 2
