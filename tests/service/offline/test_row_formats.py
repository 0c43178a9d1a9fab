"""What is written for answers that are given."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.inference.results import classification
from service.offline.classify_chunk import ChunkResult
from service.offline.row_formats import ArrowEncoder, JSONLinesEncoder, arrow_schema
from service.preprocessing.pipeline import UNCHANGED, Preprocessing
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings
from tests.service.models import write_model

PHOTO: Preprocessing = {"mode": "photo", "negated": True, "trimmed": False}
LABELS = (
    "100%",
    "%b",
    "%(x)s",
    'a "word"',
    "back\\slash",
    "Pull, over",
    "\u00e9\u4e2d",
    "]",
    "[",
    "8",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    """The released network, with unusual class names."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    write_model(path, labels=json.dumps(LABELS), name="50 % b", version="1%%b")
    return load_model(ServiceSettings(device="cpu", model=path))


@st.composite
def some_rows(draw: st.DrawFn) -> ChunkResult:
    names = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6))
    failed = draw(st.sets(st.integers(0, max(0, len(names) - 1)), max_size=len(names)))
    M = len(names) - len(failed)
    numbers = st.floats(0, 1, width=32)
    probabilities = draw(st.lists(numbers, min_size=10 * M, max_size=10 * M))
    shifts = draw(st.none() | st.lists(st.integers(0, 9000), min_size=M, max_size=M))
    unusual = {n: "a \u201chint\u201d, 1%" for n, shift in enumerate(shifts or ()) if shift > 1000}
    return ChunkResult(
        names,
        dict.fromkeys(sorted(failed, reverse=True), 'no "answer", 1 %b'),
        np.array(probabilities, np.float32).reshape(M, 10),  # (M, 10)
        draw(st.lists(st.sampled_from([UNCHANGED, PHOTO]), min_size=M, max_size=M)),
        None if shifts is None else np.array(shifts, np.float64) / 1000,  # (M,)
        unusual,
    )


def expected(model: OnnxModel, rows: ChunkResult, top_k: int | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    answer = 0
    for row, name in enumerate(rows.names):
        if row in rows.errors:
            found.append({"file": name, "error": rows.errors[row]})
            continue
        done = rows.preprocessing[answer]
        line = {"file": name, **classification(model, rows.probabilities[answer], done, top_k)}
        if rows.shifts is not None:
            hint = rows.hints.get(answer, "")
            line["input"] = {
                "shift": rows.shifts[answer],
                "unusual": bool(hint),
                "hint": hint,
            }
        found.append(line)
        answer += 1
    return found


@given(rows=some_rows(), top_k=st.none() | st.integers(1, 10))
def test_lines_are_the_answers_of_classify(
    model: OnnxModel, rows: ChunkResult, top_k: int | None
) -> None:
    content = JSONLinesEncoder(top_k).encode(model, rows)
    lines = [json.loads(line) for line in content.split(b"\n")[:-1]]
    wanted = expected(model, rows, top_k)
    assert lines == wanted
    # Those most probable come first, and every key in the order of `POST /classify`.
    assert list(map(list, lines)) == list(map(list, wanted))
    for line, want in zip(lines, wanted, strict=True):
        assert list(line.get("probabilities", ())) == list(want.get("probabilities", ()))


@given(rows=some_rows())
def test_record_batches_have_the_same(model: OnnxModel, rows: ChunkResult) -> None:
    content = ArrowEncoder().encode(model, rows)
    schema = arrow_schema(model.labels, model.name, model.version)
    table = pa.ipc.read_record_batch(pa.py_buffer(content), schema).to_pylist()
    for row, want in zip(table, expected(model, rows), strict=True):
        if "error" in want:
            assert {key: value for key, value in row.items() if value is not None} == want
            continue
        watched = want.get("input", dict.fromkeys(("shift", "unusual", "hint")))
        assert row.pop("shift") == pytest.approx(watched.pop("shift"), abs=1e-6)
        # The columns are float32: what the answer's digits say, rounded to that.
        probabilities = dict(zip(model.labels, row.pop("probabilities"), strict=True))
        assert probabilities == {k: float(np.float32(v)) for k, v in want["probabilities"].items()}
        assert row.pop("confidence") == float(np.float32(want["confidence"]))
        assert row == {
            **{key: want[key] for key in ("file", "label", "class_id")},
            **want["preprocessing"],
            **watched,
            "error": None,
        }


def test_numbers_have_the_digits_of_float32(model: OnnxModel) -> None:
    probabilities: NDArray[np.float32] = np.full((1, 10), 0.1, np.float32)  # (1, 10)
    rows = ChunkResult(["a"], {}, probabilities, [UNCHANGED], None, {})
    assert (
        JSONLinesEncoder().encode(model, rows).count(b":0.1,") == 10
    )  # confidence, and nine of ten
