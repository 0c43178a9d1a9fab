"""A folder with our Makefile, whose lock names one small package of our own."""

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving import ROOT

# What a user's shell has on an ordinary day; pip's own settings here would lead elsewhere.
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PIP_", "PYTHON", "MAKE", "MFLAGS", "VIRTUAL_ENV"))
}
TARGET = ".venv/dev/.installed"
LAST_RESORT_SECONDS = 600.0


@dataclass(frozen=True)
class Checkout:
    """A folder with our Makefile, whose development lock names `small`."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=lambda: PLAIN)

    @property
    def python(self) -> Path:
        return self.folder / ".venv" / "dev" / "bin" / "python"

    @property
    def lock(self) -> Path:
        return self.folder / "requirements" / "dev.lock"

    def lock_version(self, version: str) -> None:
        wheel = write_wheel(self.folder / "wheels", version)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.lock.write_text(f"small=={version} --hash=sha256:{digest}\n")

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (self.folder / "wheels").as_uri()}
        return subprocess.Popen(
            ["make", "--no-print-directory", TARGET, *arguments],  # noqa: S607
            cwd=self.folder,
            env={"PIP_CONFIG_FILE": os.devnull, **(environment or self.variables), **pip},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, environment=environment)
        output, errors = process.communicate(timeout=LAST_RESORT_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def installed(self) -> str:
        """The version and the path that the environment's own `small` prints."""
        done = subprocess.run(
            [self.python, "-I", "-c", "import small; print(small.__version__, small.__file__)"],
            capture_output=True,
            text=True,
            check=True,
        )
        version, place = done.stdout.strip().split(" ", 1)
        assert Path(place).is_relative_to(self.folder / ".venv" / "dev")
        return version


def write_wheel(folder: Path, version: str) -> Path:
    """Write the package `small`, which has a program of the same name."""
    info = f"small-{version}.dist-info"
    files = {
        "small.py": f"__version__ = {version!r}\ndef main(): print(__file__)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: small\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nsmall = small:main\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        for name, text in files.items()
    }
    record = [f"{name},sha256={digests[name]},{len(files[name])}" for name in files]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(exist_ok=True)
    path = folder / f"small-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
    return path


def new_checkout(folder: Path) -> Checkout:
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "requirements" / "environment.sh", folder / "requirements")
    checkout = Checkout(folder)
    checkout.lock_version("1.0")
    return checkout


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
