"""Measure how this service and its alternatives respond to bad input.

    python -m benchmarks.http.bad_input [--servers "ours,FastAPI by hand"] [--paths 10000]

Each gets the picture cases of tests/hostile in a form, the forms of tests/hostile, paths that
nobody has asked for, and 300 MB, in a form and as the body; each kind goes to a server just started
and warmed up. Statuses are counted, and how much resident memory grew. One that gives no answer in
30 s is started again, and the requests that did it are named.
"""

import argparse
import http.client
import itertools
import json
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from benchmarks.http.peers import ROOT, Running, Server, running, servers
from tests.hostile import forms, gif_bmp_webp, jpeg, other_files, png, tiff
from tests.hostile.cases import Case
from tests.hostile.connection import exchange
from tests.hostile.forms import PARTS, TYPE, form, part
from tests.hostile.test_growth import random_path

PICTURES = (png, jpeg, gif_bmp_webp, tiff, other_files)
FILE = PARTS + b'; filename="picture"\r\nContent-Type: image/png'
END = b"\r\n--b--\r\n"
MIB = 2**20
LARGE = 300  # MiB
WARM_UP = 100  # good requests

Request = tuple[str, Callable[[], Iterable[bytes]]]  # its name, and what makes it


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--servers", default="ours,FastAPI by hand,BentoML's quick start")
    parser.add_argument("--paths", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder for the results")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Row]] = {}
    for name in arguments.servers.split(","):
        found[name] = {}
        for kind, requests in kinds(arguments.paths).items():
            found[name][kind] = send_all(partial(server_named, name), deque(requests))
            print(f"{name}: {kind}: {found[name][kind]}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = {name: {kind: vars(row) for kind, row in each.items()} for name, each in found.items()}
    (arguments.out / "bad_input.json").write_text(json.dumps(rows, indent=2) + "\n")


def server_named(name: str, folder: Path) -> Server:
    """Choose one."""
    return servers(folder)[name]


@dataclass
class Row:
    """A server's responses to requests of one kind."""

    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)
    growth_mib: float = 0.0  # what it kept, the most of its runs
    peak_mib: float = 0.0  # the most resident memory in all


def kinds(paths: int) -> dict[str, list[Request]]:
    """Make all requests, by kind."""
    pictures = [case for kind in PICTURES for case in kind.CASES]
    return {
        "pictures": [(case.name, partial(picture_form, case)) for case in pictures],
        "forms": [(case.name, partial(whole, case)) for case in forms.CASES],
        "random paths": [("", partial(path, index)) for index in range(paths)],
        "300 MB in a form": [("", large_form)],
        "300 MB as the body": [("", partial(large, "image/png"))],
    }


def picture_form(case: Case) -> Iterable[bytes]:
    """Put a case's picture into a form."""
    return whole(form("", part(case.content(), FILE) + END, 200))


def path(index: int) -> Iterable[bytes]:
    """Request a path that was not requested before."""
    return [random_path(index)]


def whole(case: Case) -> Iterable[bytes]:
    """Make a case's request in one piece."""
    return [case.request()]


def large_form() -> Iterable[bytes]:
    """One picture of 300 MiB in a form."""
    first = b"--b\r\n" + FILE + b"\r\n\r\n"
    return large(TYPE, before=[first], after=[END])


def large(kind: str, before: Sequence[bytes] = (), after: Sequence[bytes] = ()) -> Iterable[bytes]:
    """Make a body of 300 MiB, in chunks, with something before and after."""
    headers = [("Content-Type", kind), ("Transfer-Encoding", "chunked")]
    yield Case("", 413, "", path="/classify", headers=headers).request()
    for content in itertools.chain(before, itertools.repeat(bytes(MIB), LARGE), after):
        yield b"%x\r\n%b\r\n" % (len(content), content)
    yield b"0\r\n\r\n"


def send_all(server_in: Callable[[Path], Server], requests: deque[Request]) -> Row:
    """Send each over a connection of its own; count the answers, and look at the memory.

    Args:
        server_in: makes the server, with its files in a folder.
        requests: is empty afterwards.
    """
    row = Row()
    while requests:
        with tempfile.TemporaryDirectory() as folder:
            server = server_in(Path(folder))
            with running(server, Path(folder)) as process:
                _send_until_silent(process, server.port, requests, row)
    return row


def _send_until_silent(process: Running, port: int, requests: deque[Request], row: Row) -> None:
    for _ in range(WARM_UP):
        exchange(port, whole(form("", part(png.GOOD, FILE) + END, 200)))
    worker = largest(process)
    before = worker.memory_info().rss
    while requests:
        name, make = requests.popleft()
        try:
            row.statuses[exchange(port, make()).status] += 1
        except (http.client.HTTPException, OSError) as error:
            row.unanswered.append(f"{name}: {error!r}")
            break
    row.growth_mib = max(row.growth_mib, (worker.memory_info().rss - before) / MIB)
    row.peak_mib = max(row.peak_mib, peak(worker))


def largest(process: Running) -> psutil.Process:
    """Return the process that answers."""
    parent = psutil.Process(process.process.pid)
    return max(
        (parent, *parent.children(recursive=True)), key=lambda each: int(each.memory_info().rss)
    )


def peak(process: psutil.Process) -> float:
    """Return the peak resident memory of a process, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
