"""equivalence.json."""

import dataclasses
import hashlib
import json
import math
from datetime import date
from pathlib import Path

import pytest

from export.origin import read_origin
from export.proof.file import versions, write_proof
from export.proof.prove import as_json
from tests.export.proofs import ATTACKED, figures, proof
from training.data.dataset import Split
from training.errors import RunError


def test_a_pass(checkpoint: Path, real: Split, tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    write_proof(path, b"the model", read_origin(checkpoint), real, proof())
    found = json.loads(path.read_text())
    assert (found.pop("verdict"), found.pop("faults")) == ("equal", [])
    assert found.pop("model_sha256") == hashlib.sha256(b"the model").hexdigest()
    assert found.pop("checkpoint_sha256") == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert found.pop("test_set") == real.digests
    assert found.pop("versions") == versions()
    assert date.fromisoformat(found.pop("date"))
    assert found.pop("machine")
    assert found == json.loads(json.dumps(as_json(proof())))


def test_a_failure_with_figures_that_are_no_numbers(
    checkpoint: Path, real: Split, tmp_path: Path
) -> None:
    path = tmp_path / "proof.json"
    off = dataclasses.replace(ATTACKED, folded_error={"default": math.nan, "disabled": math.inf})
    wrong = proof(adversarial={"noise": off}, equivalence=figures(classes_equal=0))
    write_proof(path, b"", read_origin(checkpoint), real, wrong)
    found = json.loads(path.read_text(), parse_constant=pytest.fail)  # no NaN, which is not JSON
    assert found["verdict"] == "not equal"
    assert len(found["faults"]) == 3
    assert found["adversarial"]["noise"]["folded_error"] == {"default": "nan", "disabled": "inf"}


def test_a_folder_that_is_not_there(checkpoint: Path, real: Split, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "proof.json"
    with pytest.raises(RunError, match=f"cannot write {path}"):
        write_proof(path, b"", read_origin(checkpoint), real, proof())
