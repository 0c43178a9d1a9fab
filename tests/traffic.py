"""Clients that send requests without a pause, and the results."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.serving import Server

PNG = {"Content-Type": "image/png"}
CONNECTIONS = 8
PAUSE_SECONDS = 0.005  # of each client, so that the server is busy and the machine is not
LONGEST_SECONDS = 600


@dataclass
class Traffic:
    """The results of the requests so far."""

    answers: Counter[tuple[int, str]] = field(default_factory=Counter)  # by status and version
    failures: list[httpx.TransportError] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # answers that contradict themselves
    _stopping: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def note(self, answer: httpx.Response) -> None:
        told = answer.json().get("model", {}).get("version", "")
        self.answers[answer.status_code, told] += 1
        if answer.headers.get("X-Model-Version", "") != told:
            self.faults.append(f"{told} in the body, {answer.headers} above it")

    def stop(self) -> None:
        """Stop sending, and wait for the last answers."""
        self._stopping.set()
        assert self._stopped.wait(LONGEST_SECONDS)

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self.answers}

    @property
    def versions(self) -> set[str]:
        return {version for _, version in self.answers}


@contextmanager
def traffic(server: Server, picture: bytes) -> Iterator[Traffic]:
    """Have clients send a PNG to /classify, each on its connection, until the block ends."""
    url = f"{server.url}/classify"
    seen = Traffic()
    asked = [asyncio.Event() for _ in range(CONNECTIONS)]

    async def ask(first: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=LONGEST_SECONDS) as client:
            while not seen._stopping.is_set():
                try:
                    answer = await client.post(url, content=picture, headers=PNG)
                    seen.note(answer)
                except httpx.TransportError as error:
                    seen.failures.append(error)
                first.set()
                await asyncio.sleep(PAUSE_SECONDS)

    async def ask_all() -> None:
        async with asyncio.TaskGroup() as group:
            for first in asked:
                group.create_task(ask(first))
            for first in asked:
                await first.wait()
            started.set()
        seen._stopped.set()

    started = threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(ask_all(),))
    thread.start()
    try:
        assert started.wait(LONGEST_SECONDS)
        yield seen
    finally:
        seen.stop()
        thread.join()
