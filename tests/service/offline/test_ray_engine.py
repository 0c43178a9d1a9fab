"""`--engine ray` on a Ray with two workers: the local engine's rows, whatever is killed."""

import fcntl
import os
import re
import secrets
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from tests.service.cli.program import PASSED_OVER, program_environment, wait_until
from tests.service.cli.program import run as run_program
from tests.service.offline.inputs.found import idx
from tests.service.pictures import encode
from tests.service.runtime.drivers import no_gpu
from tests.serving import ROOT, environment

PYTHON = ".venv/ray/bin/python"
RAY_PYTHON = ROOT / PYTHON
PAGE = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
BLOCKS = [
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if PYTHON in block
]
SECONDS = 600

# The service, with a thread of Ray Data that goes on, once there are results, when Ray has ended.
SLOW = """
import runpy, sys, time
from pathlib import Path
import ray
from ray.data._internal.execution.streaming_executor import StreamingExecutor

step = StreamingExecutor._scheduling_loop_step
out = Path(sys.argv[sys.argv.index("--out") + 1])

def slow_step(self, topology):
    end = time.monotonic() + 6
    while out.exists() and out.stat().st_size > 0 and ray.is_initialized():
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    return step(self, topology)

StreamingExecutor._scheduling_loop_step = slow_step
runpy.run_module("service", run_name="__main__", alter_sys=True)
"""

needs_ray = pytest.mark.skipif(
    not RAY_PYTHON.exists(), reason=".venv/ray is missing: make .venv/ray/.installed"
)


@dataclass(frozen=True)
class Cluster:
    """A Ray that a test started."""

    process: subprocess.Popen[str]
    address: str
    settings: dict[str, str]

    def workers_that_classified(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def actors(self) -> list[psutil.Process]:
        """The processes that classify now."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "ray::MapWorker" in " ".join(child.cmdline())]


@dataclass(frozen=True)
class Input:
    """Some of everything, and the rows that the local engine has for it."""

    folder: Path
    names: list[str]
    rows: bytes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Not pytest's folder: the names of Ray's sockets would be too long.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        settings = {
            "RAY_TMPDIR": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        with subprocess.Popen(
            [RAY_PYTHON, ROOT / "tests" / "service" / "ray_cluster.py"],
            cwd=folder,
            env=program_environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address
            yield Cluster(process, address, {**settings, "RAY_ADDRESS": address})
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="module")
def given(images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Input:
    """A folder, Parquet and a tar with broken pictures, and 16 IDX files of 1,250 images."""
    folder = tmp_path_factory.mktemp("given")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(200):
        broken = number < 64 or number == 100  # a whole block, and one
        content = b"no picture" if broken else encode(images[number])
        (pictures / f"{number:03}.png").write_bytes(content)
    with tarfile.open(folder / "some.tar", "w") as archive:
        archive.add(pictures, "some")
    write_parquet = (
        "import pathlib, pyarrow, pyarrow.parquet\n"
        "found = [path.read_bytes() for path in sorted(pathlib.Path('pictures').iterdir())]\n"
        "pyarrow.parquet.write_table(pyarrow.table({'image': found}), 'some.parquet')\n"
    )
    subprocess.run([RAY_PYTHON, "-c", write_parquet], cwd=folder, check=True, timeout=SECONDS)
    names = ["pictures", "some.parquet"]
    for number in range(16):
        names.append(f"{number}.idx")
        (folder / names[-1]).write_bytes(idx(images[500 * number : 500 * number + 1250]))
    names.append("some.tar")  # last, so that a run that goes on has broken pictures too
    _, errors = run(["classify", *names, "--out", "local.jsonl"], folder, status=1)
    assert "195 of them have no answer" in errors
    return Input(folder, names, (folder / "local.jsonl").read_bytes())


@contextmanager
def started(
    arguments: list[str],
    folder: Path,
    settings: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    program: tuple[str, str] = ("-m", "service"),
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [RAY_PYTHON, *program, *arguments],
        cwd=folder,
        env=program_environment(settings or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=pass_fds,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(
    arguments: list[str],
    folder: Path,
    settings: dict[str, str] | None = None,
    status: int = 0,
    pass_fds: tuple[int, ...] = (),
) -> tuple[str, str]:
    """Run the program; return what it wrote to standard output and to standard error."""
    with started(arguments, folder, settings, pass_fds) as process:
        return ended(process, status)


def ended(process: subprocess.Popen[str], status: int) -> tuple[str, str]:
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == status, output + errors
    assert "Traceback" not in errors
    return output, errors


def complaint(errors: str) -> str:
    """The one line of ours; Ray's runtime writes some of its own."""
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert errors.splitlines()[-1] == line
    return line


@needs_ray
def test_rows_are_the_local_engines_from_several_workers(given: Input, cluster: Cluster) -> None:
    arguments = ["classify", *given.names, "--engine", "ray", "--out", "ray.jsonl"]
    output, errors = run(arguments, given.folder, cluster.settings, status=1)
    assert output == "20,600 rows written to ray.jsonl\n"
    assert complaint(errors) == "error: 195 of them have no answer: their error says why"
    assert (given.folder / "ray.jsonl").read_bytes() == given.rows
    assert cluster.workers_that_classified() == 2


@needs_ray
def test_goes_on_where_it_was_killed_and_replaces_workers(given: Input, cluster: Cluster) -> None:
    arguments = ["classify", *given.names, "--engine", "ray", "--out", "killed.jsonl"]
    out = given.folder / "killed.jsonl"
    with started(arguments, given.folder, cluster.settings) as process:
        wait_until(lambda: out.exists() and out.stat().st_size > 0, process)
        process.send_signal(signal.SIGKILL)
    before = out.read_bytes()
    assert 0 < len(before) < len(given.rows)
    with started([*arguments, "--resume"], given.folder, cluster.settings) as process:
        wait_until(lambda: out.stat().st_size > len(before), process)
        for actor in cluster.actors():
            actor.kill()
        output, _ = ended(process, 1)
    assert output.endswith("rows written to killed.jsonl\n")
    assert output.count("\n") == 1
    assert out.read_bytes() == given.rows


@needs_ray
@pytest.mark.parametrize("program", [("-m", "service"), ("-c", SLOW)], ids=["usual", "slow"])
def test_sigterm_ends_it_with_what_is_whole(
    program: tuple[str, str], given: Input, cluster: Cluster
) -> None:
    out = given.folder / f"ended{program[0]}.jsonl"
    arguments = ["classify", *given.names, "--engine", "ray", "--out", out.name]
    with started(arguments, given.folder, cluster.settings, program=program) as process:
        wait_until(lambda: out.exists() and out.stat().st_size > 0, process)
        process.send_signal(signal.SIGTERM)
        _, errors = ended(process, 128 + signal.SIGTERM)
    assert "SIGTERM" not in errors
    rows = out.read_bytes()
    assert given.rows.startswith(rows)
    assert rows.endswith(b"\n")


@needs_ray
@pytest.mark.parametrize("block", BLOCKS)
def test_the_pages_command_starts_a_ray_of_its_own(block: str, tmp_path: Path) -> None:
    for name in ("service", "models", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],  # noqa: S607
            cwd=tmp_path,
            env=environment(ROOT, {"FASHION_DEVICE": "cpu", "RAY_TMPDIR": folder}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout == f"10 rows written to samples.jsonl; {PASSED_OVER}\n"
        ours = [line for line in done.stderr.splitlines() if "core_worker.cc" not in line]
        assert ours == []
        assert not [p for p in psutil.process_iter() if folder in " ".join(cmdline(p))]
    run(["classify", "service/ui/samples", "--out", "local.jsonl"], tmp_path)
    (out,) = [path for path in tmp_path.glob("*.jsonl") if path.name != "local.jsonl"]
    assert out.read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []


@needs_ray
def test_a_node_without_the_files_is_named(given: Input, cluster: Cluster) -> None:
    given_folder = os.open(given.folder, os.O_RDONLY)
    # A descriptor that only this process has, and the program; Ray's have none so high.
    folder = fcntl.fcntl(given_folder, fcntl.F_DUPFD, 900)
    os.close(given_folder)
    try:
        name = f"/proc/self/fd/{folder}/3.idx"
        arguments = ["classify", name, "--engine", "ray", "--out", "lost.jsonl"]
        _, errors = run(arguments, given.folder, cluster.settings, 1, pass_fds=(folder,))
    finally:
        os.close(folder)
    assert complaint(errors) == (
        f"error: on {socket.gethostname()}: [Errno 2] No such file or directory: '{name}'; "
        "a node needs the input files under the same paths as here"
    )


@needs_ray
@no_gpu
def test_a_cluster_without_a_gpu_says_so(given: Input, cluster: Cluster) -> None:
    arguments = ["classify", "3.idx", "--engine", "ray", "--device", "cuda", "--out", "gpu.jsonl"]
    _, errors = run(arguments, given.folder, cluster.settings, 1)
    assert complaint(errors) == "error: --device cuda: Ray has no GPU; use cpu or auto"


@needs_ray
def test_a_cluster_that_does_not_answer_is_named(given: Input) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        arguments = ["classify", "3.idx", "--engine", "ray", "--out", "nobody.jsonl"]
        _, errors = run(arguments, given.folder, {"RAY_ADDRESS": address}, 1)
    assert complaint(errors) == (
        f"error: the Ray at RAY_ADDRESS={address} cannot be used: [Errno 111] Connection refused"
    )


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    arguments = ("classify", "service/ui/samples", "--engine", "ray", "--out")
    _, errors = run_program(*arguments, tmp_path / "rows.jsonl", status=1)
    assert complaint(errors) == (
        "error: --engine ray needs Ray: install requirements/ray.lock, or the package's extra ray"
    )
