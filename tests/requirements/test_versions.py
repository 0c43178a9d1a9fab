"""Versions that stand in several places agree."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.pythons import VERSIONS
from tests.serving import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"serve": (), "cuda": ("cuda",), "ray": ("ray",), "dev": ("train", "dev")}
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
EVERYTHING = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
]


def test_the_project_allows_the_pythons_that_are_tried() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    candidates = [f"3.{minor}" for minor in range(30)]
    assert tuple(version for version in candidates if version in allowed) == VERSIONS


def test_make_takes_the_same_pythons() -> None:
    script = (ROOT / "requirements" / "environment.sh").read_text()
    (supported,) = re.findall(r'^supported="(.*)"$', script, re.MULTILINE)
    assert tuple(supported.split()) == VERSIONS


def test_the_readme_names_them() -> None:
    (said,) = re.findall(r"^Python (3[^`]*) and `make`", (ROOT / "README.md").read_text(), re.M)
    assert tuple(re.findall(r"3\.\d+", said)) == VERSIONS


@pytest.mark.parametrize("requirement", EVERYTHING, ids=str)
def test_every_dependency_has_an_upper_bound(requirement: Requirement) -> None:
    assert {"<", "=="} & {specifier.operator for specifier in requirement.specifier}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_what_the_project_asks_for(name: str, version: str) -> None:
    locked = list(read_lock(name))
    for system, machine in PLATFORMS:
        environment = {
            "python_version": version,
            "python_full_version": f"{version}.1",
            "sys_platform": system,
            "platform_machine": machine,
        }
        found = {
            one.name: str(one.specifier).removeprefix("==")
            for one in locked
            if one.marker is None or one.marker.evaluate(environment)
        }
        for asked in asked_for(name):
            if asked.marker is None or asked.marker.evaluate(environment):
                assert found[asked.name] in asked.specifier, (asked, environment)


def read_lock(name: str) -> Iterator[Requirement]:
    for line in (ROOT / "requirements" / f"{name}.lock").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            yield Requirement(line.removesuffix("\\"))


def asked_for(name: str) -> Iterator[Requirement]:
    optional = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *(line for e in EXTRAS[name] for line in optional[e])]:
        yield Requirement(line)
