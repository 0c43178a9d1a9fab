"""`make bench-gpu` from start to end, with the CPU in place of the GPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.rehearsal import BENTOML, rehearse
from tests.service.runtime.drivers import no_gpu
from tests.serving import ROOT

ROWS = {
    *("service", "service, the GPU alone", "service on the CPU", "service, sizes changing"),
    *("CUDA graphs", "torch, unfolded", "torch, folded"),
}


@no_gpu
def test_without_a_gpu_there_is_one_line_that_says_why() -> None:
    printed = rehearse("http.gpu")
    assert printed.startswith("No GPU table: FASHION_DEVICE is cuda, but there is no NVIDIA driver")
    assert printed.count("\n") == 1


def test_the_tests_for_a_gpu_pass_on_the_cpu_in_its_place() -> None:
    """A few GPU tests on the CPU; `GPU_REHEARSAL=1 make test-gpu` runs all."""
    tests = "tests/gpu/test_serving_on_cuda.py"
    chosen = "every_batch_size or every_node or beside_another"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", tests, "-k", chosen, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "GPU_REHEARSAL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed, 1 skipped" in done.stdout


def test_every_figure_is_there(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    sizes = ("--batches", "1,3", "--connections", "1,2", "--seconds", "0.02", "--images", "50")
    options = ("--device", "cpu", "--no-compile", "--bentoml", str(BENTOML), "--out", str(out))
    printed = rehearse("http.gpu", *sizes, *options)
    assert "| service, the GPU alone | " in printed
    assert out.with_suffix(".png").stat().st_size > 10_000
    found = json.loads(out.read_text())
    assert {"device", "torch", "onnxruntime", "python"} <= found["on"].keys()
    assert found["start"]["smallest_on_gpu"] >= 1
    assert found["nodes"] == {"CPUExecutionProvider": 20}
    for differences in (found["differences"]["TF32 off"], found["differences"]["TF32 on"]):
        assert [row["batch"] for row in differences] == [1, 3]
        assert all(row["largest"] < 1e-4 and row["classes"] == 0 for row in differences)
    assert found["in_process"].keys() == ROWS
    for row in found["in_process"].values():
        assert row.keys() == {"1", "3"}
        assert all(0 < pace["p50_us"] <= pace["p99_us"] for pace in row.values())
    over = found["over_the_network"]
    assert over.keys() == ({"HTTP", "gRPC"} if shutil.which("wrk") else {"gRPC"})
    for rows in over.values():
        assert {size: row.keys() for size, row in rows.items()} == {
            "1": {"1", "2"},
            "3": {"1", "2"},
        }
        loads = [load for row in rows.values() for load in row.values()]
        assert all(load["failures"] == 0 and load["requests"] > 0 for load in loads)
