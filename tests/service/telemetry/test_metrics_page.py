"""The table of metrics in docs/operations.md, compared with GET /metrics."""

import re

import httpx
import numpy as np
from numpy.typing import NDArray
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

import service.drift.metrics
import service.server.worker_metrics
import service.telemetry.metrics  # noqa: F401 (all that have metrics)
from tests.service.asgi_host import eventually
from tests.service.pictures import encode
from tests.serving import ROOT

PAGE = ROOT / "docs" / "operations.md"
ROW = re.compile(r"^\| `(fashion_\w+)` \| (counter|gauge|histogram) \| (.*?) \| \S.* \|$", re.M)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each metric, by name; a counter's ends in _total, as it is served."""
    return {
        name.removesuffix("_total"): (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text())
    }


def test_the_table_has_each_metric_that_is_served_with_its_labels(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    client.post("/classify", content=encode(ankle_boot), headers={"Content-Type": "image/png"})
    client.get("/nothing")
    table = documented()
    served: dict[str, tuple[str, frozenset[str]]] = {}

    def all_are_served() -> bool:  # a request is counted once its answer has left
        for family in text_string_to_metric_families(client.get("/metrics").text):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            served[family.name] = (family.type, frozenset(labels))
        return {"fashion_requests", "fashion_request_seconds", "fashion_model"} <= set(served)

    eventually(all_are_served)
    assert served == {name: table.get(name) for name in served}


def test_the_table_has_no_metric_that_there_is_not() -> None:
    known = {metric.name: metric.type for metric in REGISTRY.collect()}
    table = documented()
    assert {name: known.get(name) for name in table} == {name: table[name][0] for name in table}
