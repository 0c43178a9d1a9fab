"""docs/proof.md: its commands run, and its table has the program's limits."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from export.network.options import IMAGES
from export.proof.adversarial import adversarial_images
from export.proof.equivalence import ALLOWANCE
from export.proof.layers import BEYOND_ROUNDING
from export.proof.prove import ADVERSARIAL_ALLOWANCE, LAYER_IMAGES
from export.verification import float64, verification

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_commands_run(tmp_path: Path) -> None:
    """In a folder with links to the repository's files, in which the commands write."""
    for name in ("models", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (program,) = PYTHON
    assert run(tmp_path, "-W", "ignore", "-c", program).returncode == 0
    last = []
    for command in COMMANDS:
        python, *arguments = shlex.split(command)
        assert python == ".venv/dev/bin/python"
        done = run(tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), command
        last.append(done.stdout.splitlines()[-1])
    assert last[0].startswith("proved equal; wrote ")
    assert last[1].startswith("PASS: models/fashion_lenet/model.onnx is ")
    assert last[2].startswith("PASS: runs/yours/resnet18.onnx is torchvision.models:resnet18 with ")
    written = {path.name for path in (tmp_path / "runs" / "proof").iterdir()}
    assert written == {"model.onnx", "equivalence.json", "verified.json", "errors.png"}
    check_released(json.loads((tmp_path / "runs" / "proof" / "verified.json").read_text()))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def check_released(found: dict[str, Any]) -> None:
    """The released model: no worse than eval mode itself, and every class the same."""
    assert (found["verdict"], found["faults"], found["deviation_starts"]) == ("equal", [], None)
    assert found["decisions"]["proved"] == found["figures"]["images"] == 10_000
    own = found["figures"]["eval_mode"]["max_error"]
    assert found["figures"]["folded"]["default"]["max_error"] <= own
    for comparison in found["comparisons"]["eval mode, float64"].values():
        assert comparison["classes_equal"] == 10_000
    for result in found["adversarial"].values():
        assert result["classes_equal"] + result["undecided"] >= result["images"]


def test_the_limits_are_the_programs() -> None:
    assert ALLOWANCE == {"default": 1.0, "disabled": 2.0}  # "no larger", "no larger than twice"
    assert ADVERSARIAL_ALLOWANCE == 2.0  # "within twice"
    assert f"more than {BEYOND_ROUNDING:g} times eval mode's error there" in PAGE
    assert f"on the first {LAYER_IMAGES:,} images" in PAGE
    assert f"at most {verification.ALLOWANCE:g} times eval mode's own in float32" in PAGE
    assert f"else within {float64.ALLOWANCE:g} times what rounding the weights" in PAGE
    assert f"within {float64.EXACT:g}".replace("e-0", "e-") in PAGE
    assert f"`--images` ({IMAGES})" in PAGE
    images = sum(map(len, adversarial_images().values()))
    assert f"On the {images:,} adversarial images" in " ".join(PAGE.split())
    assert f"a measurement on {10_000 + images:,} images" in " ".join(PAGE.split())


def test_the_files_it_names_are_there() -> None:
    names = re.findall(r"`(tests/[\w/]+\.py)`", PAGE) + re.findall(r"\]\((\w+\.md)\)", PAGE)
    assert len(names) >= 4
    for name in names:
        assert (ROOT / name).is_file() or (ROOT / "docs" / name).is_file(), name
