"""`gpu.png`: images a second by the size of a batch, in one process."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.stopwatch import Pace


def draw(rows: Mapping[str, Mapping[str, Pace]], device: str, path: Path) -> None:
    """Draw a line for each row of the table."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    panel = figure.subplots()
    for name, row in rows.items():
        sizes = list(map(int, row))
        speeds = [pace.images_per_second for pace in row.values()]
        panel.loglog(sizes, speeds, marker="o", markersize=3, label=name)
        panel.set_xticks(sizes, row, minor=False)
    panel.minorticks_off()
    panel.set_title(f"Images a second, {device}")
    panel.set_xlabel("images in a batch")
    panel.legend(frameon=False, fontsize=7)
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
