"""The worst files that `make hostile` found, within the limits of a request; see corpus/."""

import json
import lzma
import shlex
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.hostile.cases import Case, picture
from tests.hostile.connection import exchange
from tests.hostile.numbers import INFER
from tests.hostile.png import GOOD
from tests.hostile.search import readers
from tests.hostile.search.__main__ import FORMATS, main
from tests.hostile.search.cost import MIB, measure
from tests.hostile.search.webp import groups
from tests.hostile.test_memory import Watch
from tests.serving import ROOT, Server

pytestmark = pytest.mark.serial  # it measures memory

CORPUS = Path(__file__).with_name("corpus")
REQUEST_MEMORY, REQUEST_SECONDS = 200 * MIB, 2.0  # docs/reliability.md
WORKERS_OWN_SECONDS = 0.5  # what else is done for a request, and the ticks of the clock
LARGE_INPUT_SECONDS = 60.0  # as that process gets: 900 MB are copied for 3 kB
LARGE_INPUT_MEMORY = 1024 * MIB  # the most that one process for Parquet gets
PICTURES = (".png", ".jpeg", ".webp", ".gif", ".bmp", ".tiff")
LARGE_INPUTS = (".parquet", ".idx", ".tar")


def unpacked(path: Path) -> bytes:
    """A file of the corpus, whose large ones are compressed."""
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


FILES = {
    path.name.removesuffix(".xz"): partial(unpacked, path) for path in sorted(CORPUS.iterdir())
}
FILES["65536-groups-of-codes.webp"] = partial(groups, 2, 1024, 65_536)
REQUESTS = [name for name in FILES if not name.endswith(LARGE_INPUTS)]


def requests(name: str) -> list[Case]:
    """All that a file can be sent as."""
    body = FILES[name]
    kinds = {
        ".json": [("/predict", "application/json", {})],
        ".json.gz": [(INFER, "application/json", {"Content-Encoding": "gzip"})],
        ".form": [("/classify_batch", f"multipart/form-data; boundary={readers.BOUNDARY}", {})],
    }
    for suffix in PICTURES:
        kinds[suffix] = [(path, "image/png", {}) for path in ("/classify", "/ui/seen")]
    suffix = next(suffix for suffix in kinds if name.endswith(suffix))
    return [
        Case(name, 200, "", body, path=path, headers=[("Content-Type", kind), *more.items()])
        for path, kind, more in kinds[suffix]
    ]


def processes(server: Server) -> list[psutil.Process]:
    """A worker, and those that decode for it."""
    (worker,) = server.workers()
    return [worker, *worker.children(recursive=True)]


def spent(processes: list[psutil.Process]) -> float:
    """Seconds of a processor's time so far; what has ended is its parent's."""
    total = 0.0
    for process in processes:
        if process.is_running():
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_costs_no_more_than_it_may(name: str, server: Server) -> None:
    good = picture("", GOOD, 200).request()
    for case in requests(name):
        assert exchange(server.port, [good]).status == 200
        those = processes(server)
        watches, before = [Watch(process) for process in those], spent(those)
        answer = exchange(server.port, [case.request()])
        assert answer.status in (200, 400, 413), answer.content[:500]
        assert answer.status == 200 or answer.error
        peak = sum(watch.peak() for watch in watches if watch.process.is_running())
        assert peak < REQUEST_MEMORY, f"{case.path}: {peak // MIB} MiB"
        assert spent(those) - before < REQUEST_SECONDS + WORKERS_OWN_SECONDS, case.path
    assert exchange(server.port, [good]).status == 200
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("name", [name for name in FILES if name not in REQUESTS])
def test_a_large_input_takes_no_more_memory_than_it_may(name: str, tmp_path: Path) -> None:
    cost = measure(FILES[name], readers.large_input, tmp_path / name, LARGE_INPUT_SECONDS)
    assert cost.outcome == "taken"  # what is wrong is a row
    assert cost.memory < LARGE_INPUT_MEMORY, f"{cost.memory // MIB} MiB"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".parquet")])
def test_the_process_that_reads_parquet_takes_no_more_memory_than_it_may(
    name: str, tmp_path: Path
) -> None:
    cost = measure(FILES[name], readers.parquet, tmp_path / name, LARGE_INPUT_SECONDS)
    # pyarrow aborts on that file, not each time; either way it is a row, as the test above says.
    ends = {"SIGABRT"} if name == "ends-pyarrow.parquet" else set()
    assert cost.outcome in ends | {"taken"}
    assert cost.memory < LARGE_INPUT_MEMORY, f"{cost.memory // MIB} MiB"


def test_the_search_measures_each_format_and_leaves_its_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if "hostile.search" in line
    ]
    assert shlex.split(line)[1:4] == ["-m", "tests.hostile.search", "--minutes"]
    assert main(["--minutes", "0.05", "--out", str(tmp_path), "IDX", "BMP"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| IDX", "| BMP"]
    costs = json.loads((tmp_path / "costs.json").read_text())
    for name, found in costs.items():
        assert set(found) == {"memory", "memory per byte", "time", "time per byte"}
        for label, cost in found.items():
            suffix = FORMATS[name].suffix
            path = tmp_path / f"{name}-{label.replace(' ', '-')}{suffix}"
            assert path.stat().st_size == cost["size"]
