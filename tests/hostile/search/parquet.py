"""Parquet files of large dictionaries, long lists, many rows and groups (Apache Parquet)."""

from functools import partial
from io import BytesIO

from hypothesis import strategies as st

from tests.hostile.search.sizes import LENGTHS

MOST = 300 * 2**20  # bytes that are written, before they are encoded


def made(
    kind: str,
    rows: int,
    length: int,
    same: bool,
    options: dict[str, object],
    patch: list[tuple[int, int]],
) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    pa.set_cpu_count(1)
    rows = max(1, min(rows, MOST // length // (8 if kind == "list" else 1)))
    distinct = 1 if same else min(rows, 50)
    if kind == "list":
        values = [[n % 256] * min(length, MOST // 8) for n in range(distinct)]
        column = pa.array([values[n % distinct] for n in range(rows)], pa.list_(pa.int64()))
    else:
        contents = [bytes([n]) * length for n in range(distinct)]
        column = pa.array([contents[n % distinct] for n in range(rows)], pa.binary())
        if kind == "struct":
            column = pa.StructArray.from_arrays([column], ["bytes"])
    file = BytesIO()
    parquet.write_table(pa.table({"image": column}), file, **options)
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
            "row_group_size": st.sampled_from([1, 64, 1_000_000]),
            "dictionary_pagesize_limit": st.sampled_from([1024, 2**20, 2**28]),
            "data_page_size": st.sampled_from([1024, 2**20, 2**28]),
        }
    ).filter(lambda options: options["row_group_size"] != 1),
    st.lists(st.tuples(st.integers(-100, 400), st.integers(0, 255)), max_size=2),
)
