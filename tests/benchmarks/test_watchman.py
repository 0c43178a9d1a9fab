"""docs/watchman.md: its figures are the benchmark's, on this machine too."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.drift import watchman
from benchmarks.drift.watchman_chart import SHOWN, draw
from service.runtime.onnx_model import load_model
from service.settings import ServiceSettings
from tests.serving import ROOT
from training.data.fashion_mnist import load_split

PAGE = (ROOT / "docs" / "watchman.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.+?) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+)% \|", re.M)
ALARM = re.compile(r"^\| (.+?) \| (\d+) \| (\d+) \| 0 of 50 \|$", re.M)


@pytest.fixture(scope="module")
def test_set() -> watchman.Images:
    return load_split("test", ROOT / "tests" / "data").images[:, 0].numpy()


@pytest.fixture(scope="module")
def statistics() -> watchman.InputStatistics:
    found = load_model(ServiceSettings(device="cpu")).input_statistics
    assert found is not None
    return found


def test_what_is_unusual(
    statistics: watchman.InputStatistics,
    test_set: watchman.Images,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shifts = watchman.print_detection(statistics, test_set)
    unusual = {name: (found > 1).mean() for name, found in shifts.items()}
    printed, told = ROW.findall(capsys.readouterr().out), ROW.findall(PAGE)
    assert [row[:2] for row in told] == [row[:2] for row in printed]
    for (name, _, median, share), found in zip(told, shifts.values(), strict=True):
        assert np.median(found) == pytest.approx(float(median), abs=0.02)
        assert unusual[name] == pytest.approx(float(share) / 100, abs=0.005)
    assert unusual["test images"] < 0.012
    for name in ("negated", "uniform noise", "blank: each of the 256 shades"):
        assert unusual[name] >= 0.95


def test_when_a_change_is_noticed(
    statistics: watchman.InputStatistics,
    test_set: watchman.Images,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchman, "STREAMS", 5)
    monkeypatch.setattr(watchman, "CLEAN_STREAMS", 1)
    drifts = watchman.print_drift(statistics, test_set, test_set[:1000])
    told = {name: (int(median), int(most)) for name, median, most in ALARM.findall(PAGE)}
    assert list(told) == list(drifts)
    for name in set(told) - {"sneakers only"}:  # here they are any garments
        median, most = told[name]
        assert drifts[name].alarms.max() <= most <= 500
        assert np.median(drifts[name].alarms) == pytest.approx(median, rel=0.3)
    assert np.isinf(drifts["sneakers only"].alarms).all()
    assert "All 10,000 test images in 1 orders: 0 raised an alarm" in capsys.readouterr().out


def test_the_limits_are_the_models(statistics: watchman.InputStatistics) -> None:
    assert statistics.window == 256
    assert "(8.44)" in PAGE
    assert f"({statistics.drift_limit * 8.44156:.3f})" in PAGE


def test_the_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shifts = {name: random.uniform(0.2, 3, 100) for name in SHOWN}
    courses = {"darker": random.uniform(0, 2, (3, 600))}
    draw(shifts, courses, 300, tmp_path / "watchman.png")
    with Image.open(tmp_path / "watchman.png") as image:
        assert image.format == "PNG"
