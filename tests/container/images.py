"""An image of `make container`, and a container of it, for tests."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from tests.podman import Podman
from tests.serving import ROOT, free_port

PICTURE = (ROOT / "docs" / "images" / "ankle_boot.png").read_bytes()

# What a careful host allows: nothing is written but these two, and nothing gains rights.
CONFINED = (
    *("--network", "host", "--read-only", "--read-only-tmpfs=false"),
    *("--tmpfs", "/tmp", "--tmpfs", "/var/lib/bentoml"),  # noqa: S108
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
POLL_SECONDS = 0.2
LONGEST_SECONDS = 120.0  # a last resort


@dataclass(frozen=True)
class Container:
    """A container that a test started."""

    podman: Podman
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it."""
        return self.podman.run("exec", self.name, *command)

    def log(self) -> subprocess.CompletedProcess[str]:
        return self.podman.run("logs", self.name)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.podman.run("inspect", self.name).stdout)[0]["State"]
        return state

    def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        return int(self.podman.run("wait", self.name).stdout)


@dataclass(frozen=True)
class Image:
    """An image, and the Podman that has it."""

    podman: Podman
    name: str

    def inspect(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.podman.run("image", "inspect", self.name).stdout)[0]
        return said

    @contextmanager
    def started(self, *options: str, **settings: str) -> Iterator[Container]:
        """Run it with these options and environment variables until the block ends."""
        port = free_port()
        given = {"PORT": str(port), "FASHION_DRAIN_SECONDS": "0", **settings}
        variables = [f"--env={name}={value}" for name, value in given.items()]
        command = ["run", "--detach", *CONFINED, *options, *variables, self.name]
        with self.run(command, port) as container:
            yield container

    @contextmanager
    def serving(self, *options: str, **settings: str) -> Iterator[Container]:
        """The same, once it is ready."""
        with self.started(*options, **{"FASHION_DEVICE": "auto", **settings}) as container:
            await_ready(container)
            yield container

    @contextmanager
    def run(self, command: Sequence[str], port: int) -> Iterator[Container]:
        """Run it as a command says, which has it answer at a port."""
        done = self.podman.run(*command)
        assert done.returncode == 0, done.stderr
        container = Container(self.podman, done.stdout.strip(), port)
        try:
            yield container
        finally:
            self.podman.run("rm", "--force", container.name)


def await_ready(container: Container) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not is_ready(container):
        assert container.state()["Running"], container.log()
        assert time.monotonic() < deadline, container.log()
        time.sleep(POLL_SECONDS)


def is_ready(container: Container) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{container.url}/readyz", timeout=5).is_success
    return False


def classify(container: Container) -> httpx.Response:
    return httpx.post(f"{container.url}/classify", files={"image": PICTURE})
