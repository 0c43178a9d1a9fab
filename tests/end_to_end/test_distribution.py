"""Wheel and sdist: what `make dist` builds, installed outside the repository."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import onnx
import pytest

from export.onnx_file.emission import PRODUCER_VERSION
from service.version import SERVER_VERSION
from tests.serving import ROOT, environment, serving

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NAME = f"fashion_lenet_bn-{VERSION}"
SECONDS = 600


def test_there_is_one_version() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d\S*)", log, re.MULTILINE)  # below what is not released yet
    assert newest is not None
    model = onnx.load(ROOT / "models" / "fashion_lenet" / "model.onnx")
    assert {newest[1], SERVER_VERSION, PRODUCER_VERSION, model.producer_version} == {VERSION}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make dist` makes, of a copy of what git knows."""
    copy = tmp_path_factory.mktemp("copy")
    listed = subprocess.run(
        ("git", "ls-files", "-z"),  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    command = (Path(sys.executable).parent / "uv", "build", "--quiet", "--out-dir", copy / "dist")
    done = subprocess.run(
        command, cwd=copy, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return copy / "dist"


def tracked(folder: str, *suffixes: str) -> set[str]:
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if path.suffix in suffixes}


def test_the_wheel_has_the_packages_their_data_and_the_model(built: Path) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
        model = wheel.read("service/fashion_lenet/model.onnx")
    expected = tracked("service", ".py", ".pyi", ".html", ".js", ".css", ".png", ".svg", ".txt")
    expected |= tracked("training", ".py") | tracked("export", ".py")
    assert found == expected | {"service/fashion_lenet/model.onnx"}
    assert model == (ROOT / "models" / "fashion_lenet" / "model.onnx").read_bytes()


def test_the_wheel_has_a_command_for_all_programs(
    built: Path, installed: Path, empty: Path
) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        (points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        text = wheel.read(points).decode()
    (name, module, function) = re.findall(r"^(.+) = (.+):(.+)$", text, re.MULTILINE)[0]
    assert name == "fashion-lenet"
    program = f"import sys; from {module} import {function}; sys.exit({function}())"
    done = subprocess.run(
        [installed, "-c", program, "info"],
        cwd=empty,
        env=environment(empty, {"FASHION_DEVICE": "cpu"}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout == run(installed, "service", "info", folder=empty)


def test_the_sdist_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
    again = tmp_path / "again"
    command = (Path(sys.executable).parent / "uv", "build", "--quiet", "--wheel")
    subprocess.run((*command, "--out-dir", again), cwd=tmp_path / NAME, timeout=SECONDS, check=True)
    wheels = [zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl") for folder in (built, again)]
    first, second = ({name: wheel.read(name) for name in wheel.namelist()} for wheel in wheels)
    assert first == second


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel; what it depends on comes from the tests' own environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (theirs,) = Path(sys.executable).parents[1].glob("lib/python*/site-packages")
    (packages / "theirs.pth").write_text(f"{theirs}\n")
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        wheel.extractall(packages)  # noqa: S202 (it is ours)
    return folder / "bin" / "python"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """A folder outside the repository."""
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder
    assert not list(folder.iterdir())


def run(python: Path, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [python, "-m", *arguments],
        cwd=folder,
        env=environment(folder, {"FASHION_DEVICE": "cpu"}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_runs_where_the_repository_is_not(installed: Path, empty: Path) -> None:
    facts = run(installed, "service", "info", folder=empty)
    assert "fashion_lenet 1.1.0" in facts
    assert str(installed.parents[1]) in facts  # where the model lies
    samples = next(installed.parents[1].glob("lib/python*/site-packages/service/ui/samples"))
    assert "Bag" in run(installed, "service", "classify", str(samples), folder=empty)
    for room in ("training", "export"):
        assert room in run(installed, room, "--help", folder=empty)


def test_it_serves_where_the_repository_is_not(
    installed: Path, empty: Path, tmp_path: Path
) -> None:
    command = (str(installed), "-m", "bentoml", "serve", "service.classifier:FashionClassifier")
    sample = next(installed.parents[1].rglob("samples/bag.png"))
    with (
        serving(tmp_path, command=command, directory=empty, FASHION_DEVICE="cpu") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        answer = client.post("/classify", files={"image": sample.read_bytes()})
        assert answer.json()["label"] == "Bag"
        assert client.get("/v2").json()["version"] == VERSION
        for path in ("/", "/ui", "/ui/ui.js", "/docs.json", "/metrics"):
            assert client.get(path).status_code == 200, path
