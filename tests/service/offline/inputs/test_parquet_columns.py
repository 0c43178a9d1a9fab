"""The image column of a Parquet file: files, structs, or numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from service.errors import InputError
from tests.service.offline.inputs.found import rows


def write_parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=50)
    return path


FILES = [b"%d" % n for n in range(130)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(FILES),
        pa.array(FILES, pa.large_binary()),
        pa.array([{"bytes": file, "path": None} for file in FILES]),
    ],
    ids=["bytes", "large", "Hugging Face"],
)
def test_a_parquet_file_is_its_rows(column: pa.Array, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "some", image=column, label=list(range(130)))
    assert rows(path) == [(f"{path}#{n}", file) for n, file in enumerate(FILES)]


@pytest.mark.parametrize("kind", [pa.list_(pa.uint8()), pa.list_(pa.int64(), 784)], ids=str)
def test_a_parquet_file_of_numbers_is_its_images(
    kind: pa.DataType, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    pixels = pa.array(images[:130].reshape(130, -1).tolist(), kind)
    path = write_parquet(tmp_path / "some", pixels=pixels)
    found = np.stack([image[0] for _, image in rows(path)])
    np.testing.assert_array_equal(found, images[:130])


def test_a_row_with_nothing_or_wrong_numbers_in_it_says_so(tmp_path: Path) -> None:
    right = [7] * 784
    pixels = pa.array([right, None, [7] * 783, [*right[1:], 256], [*right[1:], None], right])
    path = write_parquet(tmp_path / "some", pixels=pixels)
    found = [picture for _, picture in rows(path)]
    assert found[0].tolist() == found[-1].tolist() == np.full((1, 28, 28), 7).tolist()
    assert found[1:-1] == [
        "the row is empty",
        "the row has 783 numbers, expected 784",
        "the row holds 256, expected whole numbers from 0 to 255",
        "the row holds None, expected whole numbers from 0 to 255",
    ]
    structs = pa.array([{"bytes": b"x"}, None, {"bytes": None}])
    path = write_parquet(tmp_path / "others", image=structs)
    assert [p for _, p in rows(path)] == [b"x", *["the row is empty"] * 2]


def test_the_column_is_found_or_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "some", a=[b"1"], b=[b"2"], c=["text"])
    assert rows(path, column="b") == [(f"{path}#0", b"2")]
    with pytest.raises(InputError, match=r"2 columns that can be images \(a, b\): name one with"):
        rows(path)
    with pytest.raises(InputError, match=r"no column 'c' of bytes.*its image columns: a"):
        rows(path, column="c")
    with pytest.raises(InputError, match=r"0 columns that can be images"):
        rows(write_parquet(tmp_path / "none", c=["text"]))


def test_a_parquet_file_that_is_broken_says_so(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "some", a=FILES)
    path.write_bytes(path.read_bytes()[:-20])
    ((name, reason),) = rows(path)
    assert name == str(path)
    assert reason.startswith("the file is broken after 0 rows: ")
