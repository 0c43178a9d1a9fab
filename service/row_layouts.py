"""Rows as JSON lines, and as Arrow's record batches for Parquet."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import orjson

from service.answers import classification
from service.blocks import Rows
from service.model import Model

JSON_OPTIONS = orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True)
class JSONRows:
    """The objects that `POST /classify` answers with, each on a line, and the file's name."""

    top_k: int | None = None

    def lay_out(self, model: Model, rows: Rows) -> bytes:
        """Return the lines."""
        lines, answer = [], 0
        for row, name in enumerate(rows.names):
            content: dict[str, Any] = {"file": name}
            if row in rows.faults:
                content["error"] = rows.faults[row]
            else:
                found = rows.probabilities[answer], rows.preprocessing[answer]
                content |= classification(model, *found, self.top_k)
                if rows.inputs:
                    content["input"] = rows.inputs[answer]
                answer += 1
            lines.append(orjson.dumps(content, option=JSON_OPTIONS))
        return b"".join(lines)


@dataclass(frozen=True)
class ArrowRows:
    """A record batch of `schema`, as Arrow's IPC writes it."""

    def lay_out(self, model: Model, rows: Rows) -> bytes:
        """Return its message."""
        import pyarrow as pa

        N = len(rows.names)
        at = [row for row in range(N) if row not in rows.faults] if rows.faults else None

        def spread(values: Any, kind: pa.DataType) -> pa.Array:
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
        nothing = [None] * len(rows.probabilities)
        for name in ("shift", "unusual", "hint"):
            columns[name] = [found[name] for found in rows.inputs] or nothing
        arrays = [pa.array(rows.names, pa.string())]
        arrays += [spread(values, schema.field(name).type) for name, values in columns.items()]
        arrays.append(pa.array([rows.faults.get(row) for row in range(N)], pa.string()))
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return bytes(batch.serialize())


@cache
def arrow_schema(labels: tuple[str, ...], name: str, version: str) -> Any:
    """Return the columns of a Parquet file; its metadata names the model and its labels."""
    import pyarrow as pa

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
