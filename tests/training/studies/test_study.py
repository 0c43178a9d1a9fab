"""The files of a study, and how mean and range of its seeds are drawn."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from training.studies.spread import plot_spread
from training.studies.study import write_results


def test_figures_and_picture_are_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "study"
    write_results(out, {0: {"accuracy": 0.5}}, Figure())
    assert json.loads(out.with_suffix(".json").read_text()) == {"0": {"accuracy": 0.5}}
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="JSON"):
        write_results(out, {0: {"loss": float("nan")}}, Figure())


def test_mean_and_range_of_the_seeds_are_drawn() -> None:
    axis = Figure().add_subplot()
    plot_spread(axis, (1, 2), [(0.1, 0.4), (0.3, 0.8)], "name", "tab:blue")
    (line,) = axis.get_lines()
    assert list(line.get_ydata()) == pytest.approx([0.2, 0.6])
    (band,) = axis.collections
    limits = band.get_paths()[0].get_extents()
    assert [limits.ymin, limits.ymax] == [0.1, 0.8]
