"""Fixtures and settings of all tests."""

import os
import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.serving import Server, free_port, serving

# A busy machine may take its time for an example, or for what it is made of.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Several processes with several threads each wait for one another most of the time.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"


@cache
def _authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
    if verify is True and cert is None:
        return _authorities()
    return httpx.create_ssl_context(verify, cert, trust_env)


# httpx reads the certificates of all authorities for each client, also for HTTP without TLS: 40 ms
# of processor time, wherever a server is asked whether it is ready. Here they are read once; the
# tests of TLS have certificates of their own.
pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", _create_ssl_context)

# Of tests that run side by side, each process takes whole files: those that take a minute come
# first, or one process would be at them when the others have nothing left to do.
SLOW_FILES = (
    "end_to_end/test_main_path.py",
    "requirements/test_environment.py",
    "service/offline/test_ray_engine.py",
    "training/test_learner.py",
    "service/offline/test_job.py",
    "service/offline/test_ended_job.py",
    "end_to_end/test_faults.py",
    "end_to_end/test_readme.py",
    "documentation/test_notebook.py",
    "export/folding/test_fold_properties.py",
    "service/preprocessing/test_fashion_mnist.py",
    "service/server/test_draining.py",
    "service/server/test_startup.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow files first."""
    items.sort(key=lambda item: not str(item.path).endswith(SLOW_FILES))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`bentoml serve` as `make serve` runs it, on the CPU, for all tests that do not change it."""
    with serving(tmp_path_factory.mktemp("server"), FASHION_DEVICE="cpu") as server:
        yield server


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of `many_models`."""
    from tests.service.many_models import write_models  # ONNX takes a second to import

    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def many_models(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of several models with two workers, for the tests of one file."""
    settings = {
        "FASHION_MODELS": str(models_folder),
        "FASHION_DEFAULT_MODEL": "first",
        "FASHION_MODEL_CONTROL": "1",
        "FASHION_WORKERS": "2",
        "FASHION_GRPC_PORT": str(free_port()),
    }
    with serving(tmp_path_factory.mktemp("many"), FASHION_DEVICE="cpu", **settings) as server:
        yield server
