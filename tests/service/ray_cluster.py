"""A Ray of two processors for the tests, as an operator would have it: run in .venv/ray.

Prints its address, then, for each line of standard input, how many of its workers have classified
so far; ends with standard input.
"""

import sys

import ray

ray.init(
    "local",
    num_cpus=2,
    include_dashboard=False,
    object_store_memory=200 * 2**20,
    log_to_driver=False,
)
print(ray.get_runtime_context().gcs_address, flush=True)
for _ in sys.stdin:
    events = ray.timeline()
    workers = {event["tid"] for event in events if "(Classifier)).submit" in event["cat"]}
    print(len(workers), flush=True)
ray.shutdown()
