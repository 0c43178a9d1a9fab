"""Draw the mean of several seeds as a line, and their range as a band."""

from collections.abc import Sequence
from statistics import mean

from matplotlib.axes import Axes


def plot_spread(
    axis: Axes,
    x: Sequence[float],
    seeds: Sequence[Sequence[float]],
    label: str,
    colour: str,
    line: str = "-",
) -> None:
    """Draw values by x, a row for each seed: the mean, and lowest to highest around it."""
    columns = list(zip(*seeds, strict=True))
    low, high = [min(column) for column in columns], [max(column) for column in columns]
    middle = [mean(column) for column in columns]
    axis.plot(x, middle, line, marker="o", markersize=3, color=colour, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.grid(alpha=0.3)
