"""Parquet files of large dictionaries, long lists, many rows and groups (Apache Parquet)."""

from functools import partial
from io import BytesIO

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from pyarrow import parquet

from tests.hostile.search.sizes import LENGTHS

MOST = 100 * 2**20  # bytes of values, before they are encoded
GROUPS = 1000


def made(
    kind: str, rows: int, length: int, same: bool, options: dict[str, object], group: int,
    patch: list[tuple[int, int]]
) -> bytes:  # fmt: skip
    pa.set_cpu_count(1)
    width = 8 if kind == "list" else 1
    length = min(length, MOST // width)
    rows = max(1, min(rows, MOST // (length * width)))
    values = np.zeros((rows, length), np.uint8)
    if not same:
        values[:] = (np.arange(rows) % 251)[:, None]
    if kind == "list":
        offsets = np.arange(rows + 1, dtype=np.int32) * length
        column = pa.ListArray.from_arrays(offsets, pa.array(values.ravel().astype(np.int64)))
    else:
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(length), rows, [None, pa.py_buffer(values)]
        ).cast(pa.binary())
        if kind == "struct":
            column = pa.StructArray.from_arrays([column], ["bytes"])
    file = BytesIO()
    group = max(group, -(-rows // GROUPS))
    parquet.write_table(pa.table({"image": column}), file, row_group_size=group, **options)
    content = bytearray(file.getvalue())
    for place, value in patch:  # of the footer, and of the pages' heads before it
        content[-(place % len(content)) - 9 if place > 0 else 4 - place] = value
    return bytes(content)


FILES = st.builds(
    lambda *given: partial(made, *given),
    st.sampled_from(["binary", "struct", "list"]),
    st.sampled_from([1, 10, 64, 65, 10_000, 1_000_000]),
    LENGTHS,
    st.booleans(),
    st.fixed_dictionaries(
        {
            "compression": st.sampled_from(["none", "snappy", "gzip", "zstd"]),
            "use_dictionary": st.booleans(),
            "dictionary_pagesize_limit": st.sampled_from([1024, 2**20, 2**28]),
            "data_page_size": st.sampled_from([1024, 2**20, 2**28]),
        }
    ),
    st.sampled_from([1, 64, 1_000_000]),
    st.lists(st.tuples(st.integers(-100, 400), st.integers(0, 255)), max_size=2),
)
