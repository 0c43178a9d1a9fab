"""What one request costs a worker: function calls, and copies of its body.

    python -m tests.service.request_cost OUT.json

For a process of its own, which is set up as a worker is: metrics go to files, the log is on, the
loop is uvloop. Requests go straight to the ASGI application, in pieces as uvicorn passes them on.
The same code gives the same counts on every machine.
"""

import asyncio
import gc
import json
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from benchmarks.http.load import BOUNDARY, PIXELS, Work, binary, works

START = "start"
REPEATS = 25  # of which the cheapest counts: a timer or a thread of the server may fall into one
RECEIVE_BYTES = 64 * 1024  # uvicorn's
MEBI = 2**20

FORM, PICTURE, JSON, BINARY = (
    *("PNG in a form", "PNG as the body"),
    *("OIP JSON, 1 image", "OIP binary, 64 images"),
)
REQUESTS = {name: works()[name] for name in (FORM, PICTURE, JSON, BINARY)}


def large() -> dict[str, Work]:
    """Make requests with a body of about 1 MiB.

    None in JSON: orjson asks for 60 times as much as it then touches.
    """
    form, picture = works()[FORM], works()[PICTURE]
    head, end, tail = form.body.partition(f"\r\n--{BOUNDARY}--".encode())
    rest = bytes(MEBI)  # behind the end of a PNG it is passed over
    return {
        FORM: replace(form, body=head + rest + end + tail),
        PICTURE: replace(picture, body=picture.body + rest),
        BINARY: binary(MEBI // PIXELS, connections=1),
    }


class Calls:
    """Counts calls while it is on, in this thread and those that start later."""

    def __init__(self) -> None:
        self.on = False
        self.counts: Counter[str] = Counter()
        threading.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if self.on:
            self.counts[event] += 1

    async def count(self, app: Any, work: Work) -> tuple[int, int]:
        """Return how many functions in Python and in C a request calls."""
        self.counts.clear()
        gc.disable()  # it would call what it finds
        sys.setprofile(self._note)
        self.on = True
        try:
            await send(app, work)
        finally:
            self.on = False
            sys.setprofile(None)
            gc.enable()
        return self.counts["call"], self.counts["c_call"]


async def measure_all() -> dict[str, dict[str, float]]:
    """Start the application as a server does, and measure every request."""
    calls = Calls()
    from service.classifier import FashionClassifier

    found: dict[str, dict[str, float]] = {}
    async with started(FashionClassifier.to_asgi()) as app:
        found[START] = {"frozen": gc.get_freeze_count(), "objects": len(gc.get_objects())}
        for name, work in REQUESTS.items():
            await send(app, work)  # to warm up
            python, c = min([await calls.count(app, work) for _ in range(REPEATS)], key=sum)
            found[name] = {"python": python, "c": c}
        for name, work in large().items():
            await send(app, work)
            copies = min([await peak(app, work) for _ in range(REPEATS)])
            found[name]["copies"] = round(copies, 2)
    return found


async def peak(app: Any, work: Work) -> float:
    """Return the most memory that a request takes at a time, in lengths of its body."""
    pieces = pieces_of(work.body)
    gc.collect()
    tracemalloc.start()
    try:
        await send(app, work, pieces)
        return tracemalloc.get_traced_memory()[1] / len(work.body)
    finally:
        tracemalloc.stop()


def pieces_of(body: bytes) -> list[bytes]:
    """Cut a body into pieces of the size of one read of a socket."""
    return [body[start : start + RECEIVE_BYTES] for start in range(0, len(body), RECEIVE_BYTES)]


async def send(app: Any, work: Work, pieces: Sequence[bytes] = ()) -> None:
    """Send a request, and check that it succeeds."""
    pieces = pieces or pieces_of(work.body)
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    answered: list[Any] = []

    async def receive() -> Any:
        # Like a client that stays: after its request it sends nothing.
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def take(message: Any) -> None:
        answered.append(message)

    await app(scope_of(work), receive, take)
    status = answered[0]["status"]
    if status != 200:
        raise SystemExit(f"{work.path} was answered with {status}: {answered[1]['body']}")


def scope_of(work: Work) -> dict[str, Any]:
    """Return the scope of a request, as uvicorn makes it of what wrk sends."""
    named = (("Host", "127.0.0.1"), ("Content-Length", str(len(work.body))))
    headers = (*named, ("Content-Type", work.content_type), *work.headers)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 3000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "POST",
        "root_path": "",
        "path": work.path,
        "raw_path": work.path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "state": {},
    }


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[Any]:
    """Take an application through its lifespan."""
    orders: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, orders.get, answers.put))
    for name in ("startup", "shutdown"):
        await orders.put({"type": f"lifespan.{name}"})
        answer = await answers.get()
        if answer["type"] != f"lifespan.{name}.complete":
            raise SystemExit(answer)
        if name == "startup":
            yield app
    await task


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(uvloop.run(measure_all())))
