"""Rows as JSON lines, and as Arrow's record batches for Parquet."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import orjson

from service.answers import most_probable
from service.arrow import pyarrow
from service.blocks import Rows
from service.model import Model


@dataclass(frozen=True)
class JSONRows:
    """The objects that `POST /classify` answers with, each on a line, and the file's name."""

    top_k: int | None = None

    def lay_out(self, model: Model, rows: Rows) -> bytes:
        """Return the lines."""
        lines = self._lines(model, rows)
        return b"".join([orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines])

    def _lines(self, model: Model, rows: Rows) -> Iterator[dict[str, Any]]:
        """Return what `service.answers.classification` does for one, in half of its time each."""
        served = {"name": model.name, "version": model.version}
        class_ids = rows.probabilities.argmax(axis=1).tolist()  # (M,)
        numbers = rows.probabilities.tolist()  # (M, K)
        shifts = None if rows.shifts is None else rows.shifts.tolist()  # (M,)
        answer = 0
        for row, name in enumerate(rows.names):
            if row in rows.faults:
                yield {"file": name, "error": rows.faults[row]}
                continue
            class_id, values = class_ids[answer], numbers[answer]
            named = dict(zip(model.labels, values, strict=True))
            if self.top_k is not None:
                best = most_probable(rows.probabilities[answer], self.top_k)
                named = {model.labels[k]: values[k] for k in best}
            line = {
                "file": name,
                "label": model.labels[class_id],
                "class_id": class_id,
                "confidence": values[class_id],
                "probabilities": named,
                "preprocessing": rows.preprocessing[answer],
                "model": served,
            }
            if shifts is not None:
                hint = rows.hints.get(answer, "")
                line["input"] = {"shift": shifts[answer], "unusual": bool(hint), "hint": hint}
            answer += 1
            yield line


@dataclass(frozen=True)
class ArrowRows:
    """A record batch of `schema`, as Arrow's IPC writes it."""

    def lay_out(self, model: Model, rows: Rows) -> bytes:
        """Return its message."""
        pa = pyarrow()
        N = len(rows.names)
        at = [row for row in range(N) if row not in rows.faults] if rows.faults else None

        def spread(values: Any, kind: Any) -> Any:
            """Put the values of the rows with an answer in their places, and nulls between."""
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
            "confidence": rows.probabilities.max(axis=1, initial=0),
            "probabilities": probabilities,
            "mode": [done["mode"] for done in rows.preprocessing],
            "negated": [done["negated"] for done in rows.preprocessing],
            "trimmed": [done["trimmed"] for done in rows.preprocessing],
        }
        answers = range(len(rows.probabilities))
        watched = rows.shifts is not None
        columns["shift"] = rows.shifts if watched else [None for _ in answers]
        columns["unusual"] = [answer in rows.hints if watched else None for answer in answers]
        columns["hint"] = [rows.hints.get(answer, "") if watched else None for answer in answers]
        arrays = [pa.array(rows.names, pa.string())]
        arrays += [spread(values, schema.field(name).type) for name, values in columns.items()]
        arrays.append(pa.array([rows.faults.get(row) for row in range(N)], pa.string()))
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return bytes(batch.serialize())


@cache
def arrow_schema(labels: tuple[str, ...], name: str, version: str) -> Any:
    """Return the columns of a Parquet file; its metadata names the model and its labels."""
    pa = pyarrow()
    metadata = {"model": name, "model_version": version, "labels": orjson.dumps(labels).decode()}
    return pa.schema(
        [
            ("file", pa.string()),
            ("label", pa.string()),
            ("class_id", pa.int16()),
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
