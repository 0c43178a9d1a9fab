"""bentoml: its arbiter, its folder for metrics, and the worker that runs uvicorn.

Stood on by `service.server.supervisor`, `service.classifier` and `service.server.bentoml_service`.
"""

import subprocess
import sys
from pathlib import Path

import httpx

from tests.serving import ROOT, environment, serving, wait_until

ARBITER = """
import bentoml._internal.utils.circus as circus

class Ours(circus.Arbiter):
    pass

circus.Arbiter = Ours
print(type(circus.create_standalone_arbiter([])) is Ours)
"""

FOLDER = """
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.serving import ensure_prometheus_dir
BentoMLContainer.prometheus_multiproc_dir.set("ours")
print(ensure_prometheus_dir())
"""


def run(program: str, folder: Path) -> str:
    """Return what a program prints in a process and a BentoML home of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env=environment(folder, {"FASHION_DEVICE": "cpu"}),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_arbiter_that_it_makes_is_the_modules(tmp_path: Path) -> None:
    assert run(ARBITER, tmp_path) == "True"


def test_the_folder_for_metrics_can_be_told(tmp_path: Path) -> None:
    assert Path(run(FOLDER.replace("ours", str(tmp_path / "ours")), tmp_path)) == tmp_path / "ours"


def test_a_worker_takes_our_application_connections_and_folder(tmp_path: Path) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu") as server:
        (worker,) = server.workers()
        assert worker.ppid() == server.process.pid
        folder = Path(worker.environ()["PROMETHEUS_MULTIPROC_DIR"])
        assert list(folder.glob(f"*_{worker.pid}.db"))
        # uvicorn's own connection would answer in plain text.
        broken = httpx.get(f"{server.url}/livez", headers={"X-Long": "a" * 100_000})
        assert (broken.status_code, list(broken.json())) == (431, ["error"])
        # BentoML's own application has its page at this address.
        assert "bentoml.com" not in httpx.get(server.url).text
        worker.kill()
        wait_until(lambda: [w for w in server.workers() if w.pid != worker.pid], server)
        assert folder.is_dir()
