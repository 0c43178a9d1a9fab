"""The figures of a verification as text, and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from export.proof.file import finite
from export.verification.measurement import CHANNELS_LAST, CONTIGUOUS, DEFAULT, DISABLED
from export.verification.tally import Run
from export.verification.verification import ALLOWANCE, DATA, Verification, faults

TITLES = {
    CONTIGUOUS: "eval mode, float32",
    CHANNELS_LAST: "eval mode, channels last",
    DEFAULT: "the model",
    DISABLED: "the model, unoptimised",
}


def describe(found: Verification) -> str:
    """Return all figures as tables, and the three criteria."""
    return "\n".join([*_runs(found), "", *_adversarial(found), "", *_criteria(found)])


def _runs(found: Verification) -> Iterator[str]:
    yield f"{'against float64, logits':25} {'images':>7} {'max':>9} {'mean':>9}  classes equal"
    for name, title in TITLES.items():
        yield _run(title, found.measured[DATA].runs[name])


def _run(title: str, run: Run) -> str:
    return (
        f"{title:25} {run.images:7,} {run.max_error:9.2e} {run.mean_error:9.2e}  "
        f"{run.classes_equal:,} of {run.images:,}"
    )


def _adversarial(found: Verification) -> Iterator[str]:
    yield (f"{'adversarial images':25} {'images':>7} {'model':>9} {'eval mode':>9}  classes equal")
    for kind, measurement in found.measured.items():
        if kind == DATA:
            continue
        run, undecided = measurement.runs[DEFAULT], found.undecided(kind)
        yield (
            f"{kind:25} {run.images:7,} {found.error(kind):9.2e} {measurement.own_error:9.2e}  "
            f"{run.classes_equal:,} of {run.images:,}"
            + (f", {undecided:,} undecided" if undecided else "")
        )


def _criteria(found: Verification) -> Iterator[str]:
    """Yield a line for each of A, B and C."""
    graph = found.graph
    if graph is None:
        yield f"A  the graph in float64: not measured, since operator {found.unknown} is not known"
    else:
        yield (
            f"A  the graph in float64 is off by {graph.error:.2e} of the largest logit, at most "
            f"{graph.limit:.2e}"
        )
    ratio = max(found.error(kind) / (found.allowed(kind) / ALLOWANCE) for kind in found.measured)
    yield f"B  ONNX Runtime's error is {ratio:.2f} times eval mode's own, at most {ALLOWANCE:g}"
    images, undecided = found.measured[DATA].images, found.undecided()
    wrong = {i for run in (DEFAULT, DISABLED) for i in found.wrong(DATA, run)}
    yield (
        f"C  {images - undecided - len(wrong):,} of {images:,} classes are proved the same, "
        f"{len(wrong):,} are others, {undecided:,} are undecided: rounding may decide them"
    )


def as_json(found: Verification) -> dict[str, Any]:
    """Return every figure, ready for a JSON file."""
    failures = faults(found)
    graph = found.graph
    report = {
        "verdict": "FAIL" if failures else "PASS",
        "faults": failures,
        "graph": None if graph is None else {**asdict(graph), "limit": graph.limit},
        "unknown_operator": found.unknown,
        "deviation_starts": None if found.start is None else asdict(found.start),
        "measured": {kind: _kind(found, kind) for kind in found.measured},
    }
    content: dict[str, Any] = finite(report)
    return content


def _kind(found: Verification, kind: str) -> dict[str, Any]:
    measurement = found.measured[kind]
    runs = {
        name: {
            key: value
            for key, value in asdict(run).items()
            if key in ("images", "max_error", "mean_error", "worst_image", "classes_equal")
        }
        for name, run in measurement.runs.items()
    }
    return {
        "runs": runs,
        "largest_logit": measurement.largest_logit,
        "smallest_margin": float(measurement.margins.min()),
        "allowed_error": found.allowed(kind),
        "undecided": found.undecided(kind),
    }
