"""prometheus_client: how a histogram adds up, and the files of several processes.

Stood on by `service.telemetry.metrics` and `service.telemetry.multiprocess`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from service.telemetry.metrics import BulkHistogram
from service.telemetry.multiprocess import KINDS

VALUES = [0.1, 0.25, 0.25, 3.0, 5.0, 0.0]
BUCKETS = (0.25, 1.0, 4.0)

COUNT = """
import json, sys
import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector
from service.telemetry.metrics import BulkHistogram

mine = CollectorRegistry()
values, buckets = json.loads(sys.argv[1])
BulkHistogram("some", "some", buckets=buckets, registry=mine).observe_many(np.array(values))
Counter("more", "more", registry=mine).inc()
for mode in ("livemax", "livemostrecent", "livesum"):
    Gauge(mode, mode, multiprocess_mode=mode, registry=mine).set(1)
all = CollectorRegistry()
MultiProcessCollector(all)
found = {sample.name + str(sample.labels): sample.value
         for family in all.collect() if family.name == "some" for sample in family.samples}
print(json.dumps(found))
"""


def one_by_one() -> dict[str, float]:
    """The samples of the library's own histogram."""
    histogram = Histogram("some", "some", buckets=BUCKETS, registry=CollectorRegistry())
    for value in VALUES:
        histogram.observe(value)
    return samples(histogram)


def samples(histogram: Histogram) -> dict[str, float]:
    (family,) = histogram.collect()
    return {
        sample.name + str(sample.labels): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_many_values_at_once_are_the_same_as_one_by_one() -> None:
    histogram = BulkHistogram("some", "some", buckets=BUCKETS, registry=CollectorRegistry())
    histogram.observe_many(np.array(VALUES))
    assert samples(histogram) == one_by_one()


def test_a_process_has_the_files_that_are_reserved_for_it_and_no_others(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COUNT, json.dumps([VALUES, BUCKETS])],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{kind}_{process.pid}.db" for kind in KINDS}
    assert json.loads(printed) == one_by_one()
