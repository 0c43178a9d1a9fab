"""Measure how many requests a second this service and its alternatives answer.

    python -m benchmarks.http.serving [--rounds 3] [--seconds 5]

Every server has one worker on core 0 and the same model; wrk, in a closed loop on the other
cores, sends it the same picture. All servers take their turn in each round. The service is what
`make serve` starts, with metrics, request ids, limits and log. Writes benchmarks/results.json and a
bar chart, docs/images/serving.png. Run it on a machine that does nothing else. It needs `wrk`.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from matplotlib.figure import Figure

from benchmarks.http.load import Load, load, works
from benchmarks.http.peers import ROOT, running, servers

OURS = "ours"
CPUS = Path("/proc/cpuinfo")
OURS_STANDS_ON = ("bentoml", "onnxruntime-gpu", "starlette", "uvicorn", "uvloop", "httptools")
PEERS = {
    ROOT / ".venv" / "peers": ("fastapi", "litserve"),
    ROOT / ".venv" / "mlserver": ("mlserver",),
}
PRINT_VERSIONS = (
    "import sys; from importlib.metadata import version as v; print(*map(v, sys.argv[1:]))"
)
RESULTS = ROOT / "benchmarks" / "results.json"
CHART = ROOT / "docs" / "images" / "serving.png"


@dataclass(frozen=True)
class Ratio:
    """Ours against a peer's, for which work."""

    work: str
    peer: str
    peers_work: str

    @property
    def title(self) -> str:
        """For a table's row."""
        return f"{self.work}, against {self.peer}"


RATIOS = (
    Ratio("PNG in a form", "FastAPI by hand", "PNG in a form"),
    Ratio("PNG in a form", "LitServe", "PNG in a form"),
    Ratio("PNG in a form", "BentoML's quick start", "PNG in a form"),
    Ratio("PNG as the body", "bare uvicorn", "PNG as the body"),
    Ratio("OIP JSON, 1 image", "MLServer", "OIP JSON, 1 image"),
    Ratio("OIP binary, 64 images", "bare uvicorn", "raw bytes, 64 images"),
)

# By server and work, a value for each round.
Loads = Mapping[tuple[str, str], list[Load]]


def main() -> None:
    """Measure in rounds, print each figure, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    loads: dict[tuple[str, str], list[Load]] = defaultdict(list)
    starts: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(1, arguments.rounds + 1):
        measure(number, arguments.seconds, loads, starts)
    ratios = {ratio.title: compare(ratio, loads) for ratio in RATIOS}
    facts = {"machine": machine(), "python": platform.python_version(), "versions": versions()}
    show(facts, ratios)
    write_results(facts, ratios, loads, starts)
    draw(loads)


def measure(
    number: int,
    seconds: int,
    loads: dict[tuple[str, str], list[Load]],
    starts: dict[str, list[dict[str, float]]],
) -> None:
    """Let every server take its turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for server_name, server in servers(folder).items():
            with running(server, folder) as process:
                for work in server.works:
                    load(works()[work], 1, folder)  # to warm up
                    found = load(works()[work], seconds, folder)
                    loads[server_name, work].append(found)
                    print(
                        f"round {number}  {server_name:22} {work:22} "
                        f"{found.requests_per_second:8,.0f} requests/s  "
                        f"p50 {found.p50_ms:6.2f} ms  p99 {found.p99_ms:6.2f} ms  "
                        f"failures {found.failures}",
                        flush=True,
                    )
                starts[server_name].append(
                    {"ready_seconds": process.seconds, "resident_mib": process.resident_mib()}
                )


def compare(ratio: Ratio, loads: Loads) -> dict[str, float]:
    """Divide our median over the rounds, as the chart shows it, by the peer's."""
    ours, theirs = loads[OURS, ratio.work], loads[ratio.peer, ratio.peers_work]
    by_round = [
        mine.requests_per_second / other.requests_per_second
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return {
        "ratio": median_rate(ours) / median_rate(theirs),
        "lowest": min(by_round),
        "highest": max(by_round),
        "p99_ms": statistics.median(one.p99_ms for one in ours),
        "peers_p99_ms": statistics.median(one.p99_ms for one in theirs),
    }


def median_rate(loads: Sequence[Load]) -> float:
    """Return the median requests a second of a server's rounds."""
    return statistics.median(one.requests_per_second for one in loads)


def machine() -> str:
    """Name the processor, as Linux does, and count its cores."""
    names = [line for line in CPUS.read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(": ")[2] if names else platform.machine()
    return f"{name}, {psutil.cpu_count()} cores, {platform.system()}"


def versions() -> dict[str, str]:
    """Read the versions of the servers' packages; each peer has its own environment."""
    found = {package: version(package) for package in OURS_STANDS_ON}
    for environment, packages in PEERS.items():
        command = (environment / "bin" / "python", "-c", PRINT_VERSIONS, *packages)
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        found |= dict(zip(packages, lines, strict=True))
    return found


def show(facts: Mapping[str, Any], ratios: Mapping[str, Mapping[str, float]]) -> None:
    """Print the table of ratios, with the machine and the versions."""
    print(f"\n{facts['machine']}, Python {facts['python']}")
    print(", ".join(f"{package} {number}" for package, number in facts["versions"].items()))
    for title, figures in ratios.items():
        print(
            f"{title:48} {figures['ratio']:6.2f}  "
            f"(rounds {figures['lowest']:.2f} to {figures['highest']:.2f}; "
            f"p99 {figures['p99_ms']:.1f} against {figures['peers_p99_ms']:.1f} ms)"
        )


def write_results(
    facts: Mapping[str, Any],
    ratios: Mapping[str, Any],
    loads: Loads,
    starts: Mapping[str, Sequence[Mapping[str, float]]],
) -> None:
    """Write all figures, with the machine and the versions."""
    every = {
        f"{server}: {work}": [asdict(one) for one in found]
        for (server, work), found in loads.items()
    }
    results = {**facts, "ratios": ratios, "loads": every, "starts": starts}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def draw(loads: Loads) -> None:
    """Draw the requests a second that every server answers, by work."""
    names = list(dict.fromkeys(ratio.work for ratio in RATIOS))
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, 2).flat
    for panel, work in zip(panels, names, strict=True):
        peers = [(ratio.peer, ratio.peers_work) for ratio in RATIOS if ratio.work == work]
        bars = [(OURS, work), *peers]
        values = [median_rate(loads[bar]) for bar in bars]
        container = panel.barh(
            [server for server, _ in bars], values, color=["C0", *["0.7"] * len(peers)]
        )
        panel.bar_label(container, fmt="{:,.0f}", padding=3)
        panel.set_title(work)
        panel.set_xlabel("requests a second")
        panel.invert_yaxis()
        panel.margins(x=0.18)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(CHART, dpi=120)


if __name__ == "__main__":
    main()
