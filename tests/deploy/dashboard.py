"""The dashboard, read as Grafana reads it."""

import json
from typing import Any

from tests.deploy.programs import DEPLOY

PATH = DEPLOY / "grafana" / "dashboards" / "fashion_lenet.json"


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(PATH.read_text())
    return content


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found
