"""A real Prometheus that scrapes the running service: rules, dashboard and autoscaler get data."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.dashboard import panels
from tests.deploy.programs import DEPLOY, program
from tests.serving import ROOT, Server, free_port, serving

PICTURE = (ROOT / "docs" / "images" / "ankle_boot.png").read_bytes()
PNG = {"Content-Type": "image/png"}
IMAGES = [[[[row * column % 256 for column in range(28)] for row in range(28)]]] * 16
ROUNDS = 20  # 320 images: the watchman looks at the latest 256

MODEL = "/v2/models/fashion_lenet"
INFERENCE = {
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [16, 1, 28, 28], "data": IMAGES}]
}

SCRAPE = "1s"
POLL_SECONDS = 0.5
LONGEST = 120.0  # a last resort
WINDOW = 256  # images before the watchman speaks of a drift

# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "10s", "$job": ".+", "$instance": ".+"}
MAY_BE_EMPTY = "429|504"  # nothing was refused


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program("prometheus")
    with serving(tmp_path_factory.mktemp("server"), FASHION_DEVICE="cpu") as server:
        yield server


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the API of a Prometheus that has scraped every metric of the service."""
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(folder, server) as client:
        wait_for(lambda: query(client, "up == 1"))
        server.process.send_signal(signal.SIGHUP)
        # Another model looks at another stream: what was asked of the one before does not count.
        wait_for(lambda: query(client, "fashion_model_reloads_total > 0"))
        ask(server)
        wait_for(lambda: query(client, "fashion_input_drift > 0"))
        yield client


@contextmanager
def scraping(folder: Path, server: Server) -> Iterator[httpx.Client]:
    """Run Prometheus as deploy/ has it, but on that server, and more often."""
    port = free_port()
    command = [
        *(program("prometheus"), f"--config.file={configuration(folder, server)}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):

        def ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(httpx.TransportError):
                return client.get("/-/ready").is_success
            return False

        try:
            wait_for(ready)
            yield client
        finally:
            process.kill()


def configuration(folder: Path, server: Server) -> Path:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), SCRAPE)
    config["rule_files"] = [str(DEPLOY / "prometheus" / "rules.yml")]
    (job,) = config["scrape_configs"]
    (target,) = job["static_configs"]
    assert target["targets"] == ["fashion:8002"]
    target["targets"] = [f"127.0.0.1:{server.port}"]
    target["labels"] = {"namespace": "default", "pod": "fashion-lenet-1"}  # as in a cluster
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def ask(server: Server) -> None:
    """Send a few of all requests: valid and invalid pictures, a batch, an inference."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(ROUNDS):
            assert client.post("/classify", content=PICTURE, headers=PNG).status_code == 200
            assert client.post("/predict", json={"images": IMAGES}).status_code == 200
        window = [("images", PICTURE)] * WINDOW
        assert client.post("/classify_batch", files=window).status_code == 200
        version = client.get("/readyz").json()["model"]["version"]
        for path in (MODEL, f"{MODEL}/versions/{version}"):
            assert client.post(f"{path}/infer", json=INFERENCE).status_code == 200
        assert client.post("/classify", content=b"no picture", headers=PNG).status_code == 400
        assert client.get("/nothing").status_code == 404


def query(client: httpx.Client, expression: str) -> list[Any]:
    """What Prometheus finds now."""
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    result: list[Any] = answer["data"]["result"]
    return result


def wait_for(found: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONGEST
    while not found():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def test_it_gets_what_the_service_counts(prometheus: httpx.Client) -> None:
    wait_for(lambda: query(prometheus, f'fashion_requests_total{{route="/predict"}} == {ROUNDS}'))
    images = ROUNDS * (1 + 16) + WINDOW + 2 * 16
    wait_for(lambda: query(prometheus, f"fashion_batch_images_sum == {images}"))
    wait_for(lambda: query(prometheus, f"sum(fashion_predictions_total) == {images}"))


def test_rules_and_dashboard_mean_the_routes_that_classify(prometheus: httpx.Client) -> None:
    texts = [(DEPLOY / "prometheus" / "rules.yml").read_text(), json.dumps(panels())]
    (routes,) = {route for text in texts for route in re.findall(r'route=~\\?"([^"\\]+)', text)}
    found = query(prometheus, f'count by (route) (fashion_requests_total{{route=~"{routes}"}})')
    assert {series["metric"]["route"] for series in found} == {
        *("/classify", "/classify_batch", "/predict", "/v2/models/{name}/infer"),
    }


def test_each_rule_is_evaluated(prometheus: httpx.Client) -> None:
    def rules() -> list[Any]:
        groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_for(lambda: {rule["health"] for rule in rules()} == {"ok"})
    written = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    assert len(rules()) == sum(len(group["rules"]) for group in written)
    assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []


def test_each_metric_that_rules_and_dashboard_name_is_there(prometheus: httpx.Client) -> None:
    text = (DEPLOY / "prometheus" / "rules.yml").read_text() + json.dumps(panels())
    named = set(re.findall(r"(?:\w+:)?fashion_\w+(?::\w+)?", text)) - {"fashion_lenet"}
    assert len(named) > 10

    def missing() -> set[str]:
        return named - set(prometheus.get("/api/v1/label/__name__/values").json()["data"])

    wait_for(lambda: not missing())


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_each_panel_gets_data(prometheus: httpx.Client, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expression = target["expr"]
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        if MAY_BE_EMPTY in expression:
            query(prometheus, expression)
        else:
            wait_for(lambda expression=expression: query(prometheus, expression))


def test_the_autoscaler_gets_its_metric(prometheus: httpx.Client) -> None:
    """As prometheus-adapter fills its templates in."""
    values = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus_adapter.yaml").read_text())
    (rule,) = values["rules"]["custom"]
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    (series,) = query(prometheus, rule["seriesQuery"])
    expression = (
        rule["metricsQuery"]
        .replace("<<.Series>>", series["metric"]["__name__"])
        .replace("<<.LabelMatchers>>", 'namespace="default",pod=~"fashion-lenet-1|fashion-lenet-2"')
        .replace("<<.GroupBy>>", "pod")
    )
    ((found),) = query(prometheus, expression)
    assert found["metric"] == {"pod": "fashion-lenet-1"}
    assert 0 <= float(found["value"][1]) < 5


def test_it_notices_that_the_service_is_down(prometheus: httpx.Client, server: Server) -> None:
    server.stop()  # the last test that needs it
    wait_for(lambda: query(prometheus, 'ALERTS{alertname="FashionLenetDown"}'))
