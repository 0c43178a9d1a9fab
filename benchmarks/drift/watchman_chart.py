"""`watchman.png`: how far images of each kind are, and how drift rises as a stream changes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHOWN = (
    *("test images", "photographs on white, `mode=photo`", "digits, 20 x 20 in the middle"),
    *("uniform noise", "blank: each of the 256 shades", "negated"),
)


def draw(shifts: Mapping[str, Array], courses: Mapping[str, Array], clean: int, path: Path) -> None:
    """Draw two panels.

    Args:
        shifts: by the images' kind, (N,).
        courses: by the change, (streams, images) drift.
        clean: images of a stream before the change.
        path: the PNG file.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_shifts(left, shifts)
    _draw_courses(right, courses, clean)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


def _draw_shifts(panel: Axes, shifts: Mapping[str, Array]) -> None:
    bins = np.geomspace(0.15, 6, 70)
    for name in SHOWN:
        weights = np.full(len(shifts[name]), 1 / len(shifts[name]))
        label = name.replace("`", "")
        panel.hist(shifts[name], bins, weights=weights, histtype="step", label=label)
    panel.axvline(1, color="0.5", linestyle=":")
    panel.set_xscale("log")
    panel.set_xticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    panel.minorticks_off()
    panel.set_title("Share of images by their shift")
    panel.set_xlabel("shift; unusual beyond 1")
    panel.legend(frameon=False, fontsize=7)


def _draw_courses(panel: Axes, courses: Mapping[str, Array], clean: int) -> None:
    for name, drift in courses.items():
        images = np.arange(drift.shape[1]) - clean
        low, middle, high = np.percentile(drift, (0, 50, 100), axis=0)
        (line,) = panel.plot(images, middle, label=name)
        panel.fill_between(images, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    panel.axhline(1, color="0.5", linestyle=":")
    panel.set_xlim(-200, 500)
    panel.set_ylim(0, 8)
    panel.set_title("Drift, median and range of 50 streams")
    panel.set_xlabel("images since the stream changed; alarm above 1")
    panel.legend(frameon=False, fontsize=7)
