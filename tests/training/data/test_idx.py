"""Reading IDX files, whole ones and every kind of broken one."""

import gzip
import math
import struct
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from training.data.idx import MOST_VALUES, format_idx, parse_idx, read_idx
from training.errors import IdxError

SMALL = torch.arange(12, dtype=torch.uint8).reshape(2, 3, 2)


@settings(max_examples=50)
@given(shape=st.lists(st.integers(0, 5), max_size=4), seed=st.integers(0, 1000))
def test_what_was_formatted_is_parsed_back(shape: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    array = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    assert torch.equal(parse_idx(format_idx(array), "x"), array)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[int] | None]:
    """Bytes that are nearly an IDX file, and the shape if they are one."""
    lengths = st.sampled_from([0, 1, 1, 1, 2, 3, 2**31, 2**32 - 1])
    shape = draw(st.lists(lengths, max_size=5) | st.lists(st.just(1), max_size=255))
    size = math.prod(shape)
    values = (
        draw(st.integers(0, 20)) if size > 20 else size + draw(st.sampled_from([0, 0, 0, 1, -1]))
    )
    header = b"\0\0\x08" + struct.pack(f">B{len(shape)}I", len(shape), *shape)
    content = header[: draw(st.sampled_from([len(header)] * 9 + [len(header) - 1]))]
    content += b"\7" * max(values, 0)
    return content, shape if len(content) == len(header) + size and values == size else None


@settings(max_examples=300)
@given(file=files())
def test_what_is_nearly_an_idx_file_is_an_array_or_an_idx_error(
    file: tuple[bytes, list[int] | None],
) -> None:
    content, shape = file
    try:
        found = parse_idx(content, "x")
    except IdxError:  # no other exception
        assert shape is None or math.prod(length or 1 for length in shape) >= MOST_VALUES
    else:
        assert format_idx(found) == content


def test_the_header_is_the_formats() -> None:
    assert format_idx(SMALL)[:16] == bytes.fromhex("00000803 00000002 00000003 00000002")


@pytest.mark.parametrize("packed", [True, False])
def test_gzip_is_told_by_content_not_by_name(tmp_path: Path, packed: bool) -> None:
    content = format_idx(SMALL)
    path = tmp_path / ("plain" if packed else "images.gz")
    path.write_bytes(gzip.compress(content) if packed else content)
    assert torch.equal(read_idx(path), SMALL)


def test_slices_and_transposes_are_formatted_row_by_row() -> None:
    array = SMALL.permute(2, 0, 1)[:, 1:]
    assert torch.equal(parse_idx(format_idx(array), "x"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file: it starts with 0x,"),
        (b"\x89PNG\r\n", "is not an IDX file: it starts with 0x89504e47"),
        (b"\0\0\x0d\x01" + struct.pack(">If", 1, 1.0), "holds float32 (code 0x0d): only uint8"),
        (b"\0\0\x42\x01" + bytes(8), "holds an unknown dtype (code 0x42)"),
        (format_idx(SMALL)[:9], "is cut off within its header of 16 bytes"),
        (format_idx(SMALL)[:-5], "is cut off: its header says shape (2, 3, 2), 12 bytes"),
        (format_idx(SMALL) + b"\0", "is too long: its header says shape (2, 3, 2), 12 bytes"),
    ],
)
def test_each_fault_has_its_own_message(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(IdxError) as caught:
        read_idx(path)
    assert f"{path} {message}" in str(caught.value)


def test_only_the_values_that_follow_decide_the_memory_used() -> None:
    huge = b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    with pytest.raises(IdxError, match="is cut off"):
        parse_idx(huge, "huge")


@pytest.mark.parametrize("damage", ["cut off", "flipped", "no deflate"])
def test_corrupt_gzip_says_fetch_it_again(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(format_idx(SMALL)))
    if damage == "cut off":
        del packed[-9:]
    elif damage == "flipped":
        packed[-6] ^= 0xFF  # of the checksum
    else:
        packed[10] |= (
            0b110  # a block of the type that deflate keeps free, which zlib itself refuses
        )
    path = tmp_path / "images.gz"
    path.write_bytes(packed)
    with pytest.raises(IdxError, match=r"images.gz is corrupt gzip \(.+\): fetch it again"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdxError, match=r"cannot read .*absent: No such file"):
        read_idx(tmp_path / "absent")


def test_only_bytes_are_formatted() -> None:
    with pytest.raises(IdxError, match=r"needs a uint8 tensor, not torch\.float32"):
        format_idx(torch.zeros(3))
