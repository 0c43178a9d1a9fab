"""`growth.png`: what `benchmarks.http.growth` found, in three panels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw the cost by images, the speed by connections, and two workers against one."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    images, connections, workers = figure.subplots(1, 3)
    _draw_images(images, found["images a request"])
    _draw_connections(connections, found["connections"])
    _draw_workers(workers, found["two workers, of one"])
    for panel in (images, connections, workers):
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _draw_images(panel: Axes, rows: Mapping[str, Mapping[str, float]]) -> None:
    counts = list(map(int, rows))
    for name, label in (("http_us", "request over HTTP"), ("network_us", "the network alone")):
        panel.loglog(counts, [row[name] for row in rows.values()], marker="o", label=label)
    panel.set_xticks(counts, rows, minor=False)
    panel.minorticks_off()
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(ScalarFormatter())
    panel.set_title("Time per image")
    panel.set_xlabel("images per request, one request at a time")
    panel.set_ylabel("microseconds")
    panel.legend(frameon=False)


def _draw_connections(panel: Axes, rows: Mapping[str, Mapping[str, float]]) -> None:
    positions = range(len(rows))
    speeds = [row["requests_per_second"] for row in rows.values()]
    bars = panel.bar(positions, speeds, color="0.8")
    labels = [f"{row['p99_ms']:.3g} ms" for row in rows.values()]
    panel.bar_label(bars, labels, padding=2, fontsize=8)
    panel.set_xticks(positions, rows)
    panel.set_title("Throughput, with p99 latency")
    panel.set_xlabel("connections, each sending one PNG in a form at a time")
    panel.set_ylabel("requests a second")


def _draw_workers(panel: Axes, rows: Mapping[str, Mapping[str, float]]) -> None:
    positions = range(len(rows))
    for shift, name, label in (
        (-0.2, "measured", "measured"),
        (0.2, "by_cpu", "from the workers' CPU time per request"),
    ):
        values = [row[name] for row in rows.values()]
        places = [position + shift for position in positions]
        bars = panel.bar(places, values, 0.38, label=label)
        panel.bar_label(bars, fmt="{:.2f}", label_type="center", color="white")
    panel.axhline(2, color="0.7", linewidth=0.8, zorder=0)
    panel.set_xticks(positions, rows)
    panel.set_title("Throughput of two workers, relative to one")
    panel.margins(y=0.35)
    panel.legend(frameon=False, loc="upper left")
