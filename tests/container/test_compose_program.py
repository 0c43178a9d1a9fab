"""compose.yaml as Podman's Compose reads it: what it would run."""

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.deploy.programs import DEPLOY, program, run

PATH = DEPLOY / "compose.yaml"
PROJECT = "fashion-lenet-test"


@pytest.fixture
def commands() -> Iterator[list[str]]:
    """What would start the services; networks and volumes are made all the same."""
    compose = program("podman-compose"), "--dry-run", "-p", PROJECT, "-f", PATH
    try:
        yield re.findall(r"^podman run .*$", run(*compose, "up", "--detach"), re.MULTILINE)
    finally:
        volumes = [f"{PROJECT}_{name}" for name in yaml.safe_load(PATH.read_text())["volumes"]]
        run(program("podman"), "volume", "rm", *volumes)
        run(program("podman"), "network", "rm", f"{PROJECT}_default")


def test_a_compose_program_takes_it(commands: list[str]) -> None:
    services = yaml.safe_load(PATH.read_text())["services"]
    for service, command in zip(services.values(), commands, strict=True):
        assert command.endswith(f" {service['image']}")
        assert "--log-opt=max-size=10m --log-opt=max-file=5" in command
    (served,) = [command for command in commands if "fashion-lenet-bn" in command]
    assert f"-v {DEPLOY.parent / 'models'}:/models:ro" in served
