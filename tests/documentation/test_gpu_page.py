"""docs/gpu.md: its commands, as far as they work without a GPU, and its names and figures."""

import shlex
import subprocess
import sys

from service.runtime.cuda import OLDEST_DRIVERS, STRICT
from service.runtime.gpu_network import batch_sizes
from service.settings import ServiceSettings
from tests.pages import blocks, run
from tests.service.runtime.drivers import no_gpu
from tests.serving import ROOT

PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
SERVE, VERIFY = [block.strip() for block in blocks(PAGE, "sh")]


def test_the_second_server_is_what_make_starts() -> None:
    printed = run(("sh", "-c", SERVE.replace("make", "make --dry-run")), ROOT, {})
    assert '--port "3001"\n' in printed


@no_gpu
def test_the_proof_says_that_there_is_no_gpu() -> None:
    python, *arguments = shlex.split(VERIFY)
    assert python == ".venv/dev/bin/python"
    done = subprocess.run(
        [sys.executable, *arguments, "--data", "tests/data", "--no-input-statistics"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --device cuda: the GPU cannot compute")


def test_figures_and_names_are_the_code_s() -> None:
    assert f"CUDA 13: {OLDEST_DRIVERS['13']} or newer" in PAGE
    assert all(f"`{key}`" in PAGE for key in STRICT)
    most = ServiceSettings.model_fields["max_batch"].default
    assert f"there are few sizes: {', '.join(map(str, batch_sizes(most)[:-1]))} and so on" in PAGE
    assert f"`FASHION_MAX_BATCH` ({most:,})" in PAGE.replace("\n", " ")
