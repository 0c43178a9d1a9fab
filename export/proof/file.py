"""`equivalence.json`: a proof's verdict and figures, with file digests and versions."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import torch

from export.origin import Origin, sha256
from export.proof.prove import Proof, as_json, faults
from training.data.dataset import Split
from training.files.atomic_write import write_atomically


def write_proof(path: Path, model: bytes, origin: Origin, test: Split, proof: Proof) -> None:
    """Write a proof, passed or failed, as JSON.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, proof_text(model, origin, test, proof))


def proof_text(model: bytes, origin: Origin, test: Split, proof: Proof) -> str:
    """Return a proof as the text of the JSON file."""
    found = faults(proof)
    report = {
        "verdict": "not equal" if found else "equal",
        "faults": found,
        "model_sha256": sha256(model),
        "checkpoint_sha256": origin.sha256,
        "test_set": dict(test.digests),
        **as_json(proof),
        **circumstances(),
    }
    return report_text(report)


def report_text(report: dict[str, Any]) -> str:
    """Return a report as the text of a JSON file."""
    return json.dumps(finite(report), indent=2, allow_nan=False) + "\n"


def circumstances() -> dict[str, Any]:
    """Return when, where and with which versions a proof is computed."""
    return {
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute the proof."""
    return {module.__name__: module.__version__ for module in (torch, numpy, onnx, onnxruntime)}


def finite(value: Any) -> Any:
    """Return the value with NaN and infinity, which JSON lacks, replaced by their names."""
    match value:
        case dict():
            return {key: finite(entry) for key, entry in value.items()}
        case list() | tuple():
            return [finite(entry) for entry in value]
        case float() if not numpy.isfinite(value):
            return str(value)
    return value
