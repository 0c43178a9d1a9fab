"""The dashboard: its panels and their layout; test_prometheus runs its queries."""

import re

import yaml

from tests.deploy.dashboard import PATH, dashboard, panels
from tests.deploy.programs import DEPLOY

GRAFANA = DEPLOY / "grafana"
WIDTH = 24  # columns of Grafana's grid


def test_it_shows_what_one_wants_to_know() -> None:
    assert {
        "Request rate by route",
        "Errors by code",
        "Latency quantiles",
        "Batch sizes",
        "Queue",
        "Class distribution",
        "Input shift",
        "Model version and device",
        "Model reloads",
        "Decode and inference",
        "Restarts",
        "CPU",
        "Memory",
    } <= {panel["title"] for panel in panels()}
    assert all(panel["description"] for panel in panels())


def test_panels_lie_beside_each_other() -> None:
    taken = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    height = max(y for _, y in taken) + 1
    assert len(taken) == WIDTH * height, "the grid has a hole"
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_it_uses_no_variable_that_it_does_not_have() -> None:
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", PATH.read_text())) - {"__rate_interval", "__all"}
    assert used == variables


def test_grafana_finds_its_files_and_its_data_source() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "dashboards" / "dashboards.yaml").read_text())[
        "providers"
    ]
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert provider["options"]["path"] == "/etc/grafana/provisioning/dashboards"
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    scraping = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
