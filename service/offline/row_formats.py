"""Row encoders: JSON lines, and Arrow record batches for Parquet."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.inference.results import most_probable
from service.offline.classify_chunk import ChunkResult
from service.offline.optional_pyarrow import pyarrow
from service.runtime.onnx_model import OnnxModel

INT16_CLASSES = 2**15
PLACEHOLDER = orjson.Fragment(b"%b")  # for a value that differs from line to line


@dataclass(frozen=True)
class JSONLinesEncoder:
    """One object per line, as `POST /classify` answers, with the file's name added.

    It gives the same result as `service.inference.results.classification` for each row, in half
    the time: numbers are formatted together, and the text common to all lines is built once. With
    the labels Trouser and Bag, for example, this template is filled for each line (here broken):

        {"file":%b,"label":%b,"class_id":%b,"confidence":%b,
         "probabilities":{"Trouser":%b,"Bag":%b},"preprocessing":%b,
         "model":{"name":"fashion_lenet","version":"1.1.0"},"input":%b}
    """

    top_k: int | None = None

    def encode(self, model: OnnxModel, rows: ChunkResult) -> bytes:
        """Return one line of JSON per row."""
        template, columns = self._columns(model, rows)
        lines = list(map(template.__mod__, zip(*columns, strict=True)))
        for row, error in sorted(rows.errors.items()):
            lines.insert(row, orjson.dumps({"file": rows.names[row], "error": error}) + b"\n")
        return b"".join(lines)

    def _columns(self, model: OnnxModel, rows: ChunkResult) -> tuple[bytes, list[Iterable[bytes]]]:
        """Return the template of a line; for each of its placeholders, the values of all lines."""
        M, K = rows.probabilities.shape
        names = [name for row, name in enumerate(rows.names) if row not in rows.errors]
        labels = [orjson.dumps(label) for label in model.labels]
        numbers = _numbers(rows.probabilities)  # M * K texts
        best = rows.probabilities.argmax(axis=1)  # (M,)
        class_ids = best.tolist()
        probabilities: Any = {_literal(label): PLACEHOLDER for label in model.labels}
        values: list[Iterable[bytes]] = [numbers[k::K] for k in range(K)]
        if self.top_k is not None:
            probabilities, values = PLACEHOLDER, [_most_probable(model, rows, numbers, self.top_k)]
        line = {
            "file": PLACEHOLDER,
            "label": PLACEHOLDER,
            "class_id": PLACEHOLDER,
            "confidence": PLACEHOLDER,
            "probabilities": probabilities,
            "preprocessing": PLACEHOLDER,
            "model": {"name": _literal(model.name), "version": _literal(model.version)},
        }
        columns: list[Iterable[bytes]] = [
            map(orjson.dumps, names),
            map(labels.__getitem__, class_ids),
            map(b"%d".__mod__, class_ids),
            map(numbers.__getitem__, (np.arange(M) * K + best).tolist()),
            *values,
            map(orjson.dumps, rows.preprocessing),
        ]
        if rows.shifts is not None:
            line["input"] = PLACEHOLDER
            columns.append(_inputs(rows.shifts, rows.hints))
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), columns


def _most_probable(
    model: OnnxModel, rows: ChunkResult, numbers: list[bytes], top_k: int
) -> Iterator[bytes]:
    """Yield the most probable classes of each answer and their probabilities, as JSON."""
    for answer, values in enumerate(rows.probabilities):
        first = answer * len(values)
        best = most_probable(values, top_k)
        named = {model.labels[k]: orjson.Fragment(numbers[first + k]) for k in best}
        yield orjson.dumps(named)


def _numbers(values: NDArray[np.floating]) -> list[bytes]:
    """Return numbers as JSON, with the fewest digits that are unique for their dtype."""
    text = orjson.dumps(values.ravel(), option=orjson.OPT_SERIALIZE_NUMPY).strip(b"[]")
    return text.split(b",") if text else []


def _literal(text: str) -> str:
    """Return the text with `%` escaped, for a `%` format."""
    return text.replace("%", "%%")


def _inputs(shifts: NDArray[np.float64], hints: Mapping[int, str]) -> list[bytes]:
    """Return the `service.drift.report.InputReport` of each answer as JSON."""
    found = [b'{"shift":%b,"unusual":false,"hint":""}' % shift for shift in _numbers(shifts)]
    for answer, hint in hints.items():
        found[answer] = orjson.dumps(
            {"shift": float(shifts[answer]), "unusual": True, "hint": hint}
        )
    return found


@dataclass(frozen=True)
class ArrowEncoder:
    """Arrow record batches of `arrow_schema`, in the Arrow IPC format."""

    def encode(self, model: OnnxModel, rows: ChunkResult) -> bytes:
        """Return the record batch as an IPC message."""
        pa = pyarrow()
        N = len(rows.names)
        at = [row for row in range(N) if row not in rows.errors] if rows.errors else None

        def spread(values: Any, kind: Any) -> Any:
            """Return an array (N,): values at the rows with an answer, nulls elsewhere."""
            array = values if isinstance(values, pa.Array) else pa.array(values, kind)
            if at is None:
                return array.cast(kind)
            places = np.full(N, -1)
            places[at] = np.arange(len(at))
            return array.cast(kind).take(pa.array(places, mask=places < 0))

        schema = arrow_schema(model.labels, model.name, model.version)
        class_ids = rows.probabilities.argmax(axis=1)  # (M,)
        probabilities = pa.FixedSizeListArray.from_arrays(
            rows.probabilities.ravel(), len(model.labels)
        )
        columns = {
            "label": pa.array(model.labels).take(pa.array(class_ids)),
            "class_id": class_ids,
            "confidence": np.take_along_axis(rows.probabilities, class_ids[:, None], 1)[:, 0],
            "probabilities": probabilities,
        }
        for key in ("mode", "negated", "trimmed"):
            columns[key] = list(map(itemgetter(key), rows.preprocessing))
        M = len(class_ids)
        if rows.shifts is None:
            columns |= dict.fromkeys(("shift", "unusual", "hint"), pa.nulls(M))
        else:
            hint = _scatter(M, rows.hints, "")
            columns |= {"shift": rows.shifts, "unusual": hint != "", "hint": hint}
        arrays = [pa.array(rows.names, pa.string())]
        arrays += [spread(values, schema.field(name).type) for name, values in columns.items()]
        arrays.append(pa.array(_scatter(N, rows.errors, None), pa.string()))
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return bytes(batch.serialize())


def _scatter(length: int, texts: Mapping[int, str], otherwise: str | None) -> NDArray[np.object_]:
    """Return an array (length,) of texts at their indices, and `otherwise` elsewhere."""
    found = np.full(length, otherwise, np.object_)
    found[list(texts)] = list(texts.values())
    return found


@cache
def arrow_schema(labels: tuple[str, ...], name: str, version: str) -> Any:
    """Return the Parquet schema; its metadata names the model and its labels."""
    pa = pyarrow()
    metadata = {"model": name, "model_version": version, "labels": orjson.dumps(labels).decode()}
    return pa.schema(
        [
            ("file", pa.string()),
            ("label", pa.string()),
            ("class_id", pa.int16() if len(labels) <= INT16_CLASSES else pa.int32()),
            ("confidence", pa.float32()),
            ("probabilities", pa.list_(pa.float32(), len(labels))),
            ("mode", pa.string()),
            ("negated", pa.bool_()),
            ("trimmed", pa.bool_()),
            ("shift", pa.float32()),
            ("unusual", pa.bool_()),
            ("hint", pa.string()),
            ("error", pa.string()),
        ],
        metadata=metadata,
    )
