"""Search for the files that cost their readers most: `make hostile`.

    python -m tests.hostile.search [--minutes 60] [--out runs/hostile] [FORMAT ...]

Each format has a generator of files whose heads and structure lie, and Hypothesis looks for those
that take most memory and most time, and most of both for each of their bytes. The worst are left in
a folder; those in tests/hostile/corpus were found so, and `make test` sends them all.

Exits with status 1 where a file took more than a request may, and its reader has no process with
limits of its own.
"""

import argparse
import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, reject, settings, strategies, target
from hypothesis.database import InMemoryExampleDatabase

from tests.hostile.search import (
    archives,
    forms,
    gif_bmp,
    jpeg,
    json_bodies,
    parquet,
    png,
    readers,
    tiff,
    webp,
)
from tests.hostile.search.cost import MIB, Cost, MakeError, measure

Make = Callable[[], bytes]


class Format(NamedTuple):
    """What is made, what reads it, and what that may cost."""

    files: strategies.SearchStrategy[Make]
    read: Callable[[Path], object]
    suffix: str
    most_memory: int | None  # None: its reader is in a process that the kernel limits
    most_seconds: float | None


REQUEST = 200 * MIB, 2.0  # docs/reliability.md
LARGE_INPUT = 512 * MIB, None  # grows with nothing, and may take its time
FORMATS = {
    "PNG": Format(png.FILES, readers.picture, ".png", None, None),
    "JPEG": Format(jpeg.FILES, readers.picture, ".jpeg", None, None),
    "WebP": Format(webp.FILES, readers.picture, ".webp", None, None),
    "GIF": Format(gif_bmp.GIFS, readers.picture, ".gif", None, None),
    "BMP": Format(gif_bmp.BMPS, readers.picture, ".bmp", None, None),
    "TIFF": Format(tiff.FILES, readers.picture, ".tiff", None, None),
    "JSON": Format(json_bodies.PREDICTIONS, readers.numbers, ".json", *REQUEST),
    "JSON.gz": Format(json_bodies.INFERENCES, readers.inference, ".json.gz", *REQUEST),
    "form": Format(forms.FILES, readers.form, ".form", *REQUEST),
    "Parquet": Format(parquet.FILES, readers.parquet, ".parquet", None, None),
    "IDX": Format(archives.IDX, readers.large_input, ".idx", *LARGE_INPUT),
    "tar": Format(archives.TARS, readers.large_input, ".tar", *LARGE_INPUT),
}
ROUND = 300  # files, after which Hypothesis begins again from the best

MEASURES: dict[str, Callable[[Cost], float]] = {
    "memory": lambda cost: cost.memory,
    "memory per byte": lambda cost: cost.memory_per_byte,
    "time": lambda cost: cost.seconds,
    "time per byte": lambda cost: cost.seconds_per_byte,
}


class Search:
    """The worst files of one format so far."""

    def __init__(self, name: str, folder: Path) -> None:
        """Leave them in a folder."""
        self.name, self.format, self.folder = name, FORMATS[name], folder
        self.tried = 0
        self.unmade: list[str] = []
        self.worst: dict[str, Cost] = {}
        self.ended: dict[str, Cost] = {}  # by what no file should bring about
        folder.mkdir(parents=True, exist_ok=True)

    def try_one(self, make: Make) -> None:
        """Measure a file, and keep it if none was worse."""
        path = self.folder / f"{self.name}-tried{self.format.suffix}"
        self.tried += 1
        try:
            cost = measure(make, self.format.read, path)
        except MakeError as error:
            self.unmade.append(str(error))
            reject()
        for label, of in MEASURES.items():
            target(of(cost), label=label)
            if label not in self.worst or of(cost) > of(self.worst[label]):
                self.worst[label] = cost
                shutil.copy(path, self.path(label))
        if self.is_fatal(cost) and cost.outcome not in self.ended:
            self.ended[cost.outcome] = cost
            shutil.copy(path, self.path(cost.outcome))

    def is_fatal(self, cost: Cost) -> bool:
        """Whether it ended its reader, or would have where its reader has no limits."""
        if cost.outcome == "SIGPROF" or cost.outcome == "MemoryError":
            return self.format.most_memory is not None
        return cost.outcome.startswith("SIG")

    def path(self, label: str) -> Path:
        """Where the worst file by a measure lies."""
        return self.folder / f"{self.name}-{label.replace(' ', '-')}{self.format.suffix}"

    def run(self, seconds: float) -> None:
        """Search for so long."""
        end = time.monotonic() + seconds
        database = InMemoryExampleDatabase()
        phases = (Phase.reuse, Phase.generate, Phase.target)

        @settings(
            max_examples=ROUND,
            deadline=None,
            database=database,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.format.files)
        def search(make: Make) -> None:
            if time.monotonic() > end:
                raise _Over
            self.try_one(make)

        try:
            while True:
                hypothesis.seed(self.tried)(search)()
        except _Over:
            (self.folder / f"{self.name}-tried{self.format.suffix}").unlink(missing_ok=True)

    def broken(self) -> list[str]:
        """What took more than it may."""
        memory, seconds = self.format.most_memory, self.format.most_seconds
        found = [f"{self.path(outcome)}: {outcome}" for outcome in self.ended]
        if len(self.unmade) > self.tried / 2:
            found.append(f"{self.name}: most files are none, the last: {self.unmade[-1]}")
        if memory is not None and self.worst["memory"].memory > memory:
            found.append(f"{self.path('memory')}: {self.worst['memory'].memory // MIB} MiB")
        if seconds is not None and self.worst["time"].seconds > seconds:
            found.append(f"{self.path('time')}: {self.worst['time'].seconds:.1f} s")
        return found


class _Over(KeyboardInterrupt):
    """The time is over; Hypothesis takes it for no failure."""


def row(search: Search) -> str:
    """A format's row of the table in docs/reliability.md."""

    def of(label: str, text: str) -> str:
        return f"{text}, {search.worst[label].size:,} bytes: {search.worst[label].outcome}"

    worst = search.worst
    cells = (
        search.name,
        f"{search.tried:,}",
        of("memory", f"{worst['memory'].memory / MIB:,.0f} MiB"),
        of("memory per byte", f"{worst['memory per byte'].memory_per_byte:,.0f}"),
        of("time", f"{worst['time'].seconds:.2f} s"),
        of("time per byte", f"{worst['time per byte'].seconds_per_byte * 1e6:,.1f} us"),
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Search, print the table, and name what took too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.search")
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of them together")
    parser.add_argument("--out", type=Path, default=Path("runs/hostile"), help="for the worst")
    chosen = parser.parse_args(arguments)
    names = chosen.formats or list(FORMATS)
    if unknown := set(names) - set(FORMATS):
        parser.error(f"unknown formats {', '.join(sorted(unknown))}: of {', '.join(FORMATS)}")
    warnings.simplefilter("ignore")  # Pillow's, of the files
    print("| format | files | most memory | memory for a byte | most time | time for a byte |")
    print("|---|---|---|---|---|---|", flush=True)
    broken, costs = [], {}
    for name in names:
        search = Search(name, chosen.out)
        search.run(chosen.minutes * 60 / len(names))
        print(row(search), flush=True)
        broken += search.broken()
        costs[name] = {label: cost._asdict() for label, cost in search.worst.items()}
    (chosen.out / "costs.json").write_text(json.dumps(costs, indent=1) + "\n")
    print("\n".join(broken), file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
