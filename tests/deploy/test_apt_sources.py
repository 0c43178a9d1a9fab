"""The mirrors of deploy/container/base.sh: those of this machine's apt."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY

SCRIPT = DEPLOY / "container" / "apt_sources.sh"
RELEASE = Path("/etc/os-release")

LIST = "deb [trusted=yes] file:{mirror} {release} main contrib\n"
DEB822 = (
    "Types: deb\nURIs: file:{mirror}\nSuites: {release}\nComponents: main contrib\nTrusted: yes\n"
)


def os_release() -> dict[str, str]:
    lines = RELEASE.read_text().splitlines() if RELEASE.exists() else []
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


pytestmark = pytest.mark.skipif(
    not shutil.which("apt-get") or "VERSION_CODENAME" not in os_release(),
    reason="there is no apt here, or no release of Debian",
)


def mirror(folder: Path, origin: str, suite: str) -> Path:
    """A mirror without a package."""
    release = folder / "dists" / suite
    for component in ("main", "contrib"):
        packages = release / component / "binary-amd64" / "Packages"
        packages.parent.mkdir(parents=True)
        packages.write_text("")
    (release / "Release").write_text(f"Origin: {origin}\nSuite: {suite}\nCodename: {suite}\n")
    return folder


def apt(folder: Path, sources: dict[str, str]) -> dict[str, str]:
    """An apt that knows these files alone, updated: the environment variables that make it so."""
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    for name, text in sources.items():
        (folder / "parts" / name).write_text(text)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(folder / "parts"),
        "Dir::State::lists": str(folder / "lists"),
        "Dir::Cache": str(folder / "cache"),
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "",  # who may read a folder of ours
    }
    config = folder / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    environment = {**os.environ, "APT_CONFIG": str(config)}
    subprocess.run(["apt-get", "update"], env=environment, check=True, capture_output=True)  # noqa: S607
    return environment


def printed(environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [SCRIPT], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(("name", "text"), [("a.list", LIST), ("a.sources", DEB822)])
def test_the_machines_mirror_is_found_in_either_format(
    tmp_path: Path, name: str, text: str
) -> None:
    release, origin = os_release()["VERSION_CODENAME"], os_release()["ID"].capitalize()
    own = mirror(tmp_path / "own", origin, release)
    environment = apt(tmp_path, {name: text.format(mirror=own, release=release)})
    assert printed(environment) == [f"deb file:{own}/ {release} {c}" for c in ("main", "contrib")]


def test_other_releases_and_others_packages_are_left_out(tmp_path: Path) -> None:
    release, origin = os_release()["VERSION_CODENAME"], os_release()["ID"].capitalize()
    sources = {}
    for number, (suite, of) in enumerate(
        [(release, "A Vendor"), (release, origin), ("sid", origin), (f"{release}-updates", origin)]
    ):
        place = mirror(tmp_path / str(number), of, suite)
        sources[f"{number}.list"] = LIST.format(mirror=place, release=suite)
    assert [line.split()[1:3] for line in printed(apt(tmp_path, sources))[::2]] == [
        [f"file:{tmp_path}/1/", release],
        [f"file:{tmp_path}/3/", f"{release}-updates"],
    ]


def test_nothing_there_names_a_mirror() -> None:
    for path in (DEPLOY / "container").iterdir():
        assert not re.findall(r"\bhttps?://(?!127\.0\.0\.1)\S+", path.read_text()), path
