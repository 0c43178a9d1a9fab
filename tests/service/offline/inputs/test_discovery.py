"""Large inputs: every picture is found once, in order, in any container, broken or not."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyarrow import parquet

from service.errors import InputError
from service.offline.inputs.discovery import Files, find_shards, remaining_chunks
from service.offline.inputs.image_contents import MAX_FILE_BYTES
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import CHUNK_FILES, ImageBatch, Shard
from tests.service.pictures import FASHION

Row = tuple[str, Any]


def blocks(shards: Iterator[Shard]) -> Iterator[ImageBatch]:
    for shard in shards:
        for span in shard.chunks(Skipped()):
            block = span.read()
            assert len(span) == len(block.names) == len(block.pictures) > 0
            yield block


def rows(*arguments: str | Path, column: str | None = None) -> list[Row]:
    return [
        (name, picture)
        for block in blocks(find_shards(map(str, arguments), Skipped(), FASHION, column))
        for name, picture in zip(block.names, block.pictures, strict=True)
    ]


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def idx(images: NDArray[np.uint8]) -> bytes:
    return struct.pack(">4sIII", b"\0\0\x08\x03", *images.shape) + images.tobytes()


# Folders and files.


def test_a_folder_is_walked_in_order_and_named_files_stand_where_they_are(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.PNG", "b/a/9.jpg", "b.png", "a/x.webp", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    named = tmp_path / "a" / "notes.txt"
    found = rows(named, tmp_path, named)
    inside = ["a/x.webp", "b/1.PNG", "b/2.png", "b/a/9.jpg", "b.png"]
    assert [name for name, _ in found] == [
        str(named),
        *(str(tmp_path / name) for name in inside),
        str(named),
    ]
    assert [content for _, content in found[1:-1]] == [name.encode() for name in inside]


def test_what_cannot_be_read_is_a_reason_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert rows(tmp_path, tmp_path / "missing") == [
        (f"{tmp_path}/a.png", "No such file or directory"),
        (f"{tmp_path}/huge.png", "the file has 104,857,601 bytes, a picture may have at most "
         "104,857,600"),
        (f"{tmp_path}/missing", "No such file or directory"),
    ]  # fmt: skip


def test_a_name_that_is_no_unicode_is_shown_as_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    Path(path).write_bytes(b"x")
    assert rows(tmp_path) == [(f"{tmp_path}/\\udcff.png", b"x")]


# Archives.


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_its_pictures(mode: str, layout: int, tmp_path: Path) -> None:
    members = [(f"d/{n:03}.png", bytes([n % 256]) * n) for n in range(2 * CHUNK_FILES + 5)]
    long = [("x" * 90 + "/" + "y" * 90 + ".jpg", b"long")]
    path = tmp_path / "some"
    with tarfile.open(path, mode, format=layout) as archive:  # type: ignore[call-overload]
        for name, content in (("readme.txt", b"no picture"), *members, *long):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("other.png")
            info.type, info.linkname = kind, "d/000.png"
            archive.addfile(info)
    links = [("other.png", members[0][1])] * 2
    expected = [(f"{path}:{name}", content) for name, content in (*members, *long, *links)]
    assert rows(path) == expected


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_that_is_cut_off_gives_what_is_whole_and_says_so(
    mode: str, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    members = [(f"{n}.png", generator.bytes(5000)) for n in range(30)]
    path = write_tar(tmp_path / "some.tar", members, mode)
    whole = rows(path)
    path.write_bytes(path.read_bytes()[:100_000])
    *found, last = rows(path)
    assert 10 < len(found) < 30
    if mode == "w":  # whoever reads the last member finds out
        assert found[-1][1] == "the archive is cut off within it"
        found.pop()
    assert found == whole[: len(found)]
    assert last[0] == str(path)
    assert last[1].startswith("the archive is broken or cut off after ")


def test_a_member_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tgz"
    info = tarfile.TarInfo("a.png")
    info.size = MAX_FILE_BYTES + 1
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(MAX_FILE_BYTES // 2**20):
            file.write(bytes(2**20))
        file.write(b"1" + bytes(511))
        file.write(write_tar(tmp_path / "b.tar", [("b.png", b"b")]).read_bytes())
    tracemalloc.start()
    found = rows(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reason = "the member has 104,857,601 bytes, a picture may have at most 104,857,600"
    assert found == [(f"{path}:a.png", reason), (f"{path}:b.png", b"b")]
    assert peak < 30 * 2**20


def test_a_header_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tgz"
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 7 * 2**30
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(2**20))
    tracemalloc.start()
    ((name, reason),) = rows(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert name == str(path)
    assert "a header has 7,516,192,768 bytes" in reason
    assert peak < 30 * 2**20


def test_many_members_leave_nothing_in_memory(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = write_tar(tmp_path / f"{count}.tar", [(f"{n}.png", b"") for n in range(count)])
        tracemalloc.start()
        assert (
            sum(len(block.names) for block in blocks(find_shards([str(path)], Skipped(), FASHION)))
            == count
        )
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(4000) < peak(400) + 200_000  # a member takes 1,000 bytes and more


@settings(max_examples=60)
@given(damage=st.data())
def test_a_damaged_archive_never_does_more_than_end(
    damage: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "some.tar"
    write_tar(path, [(f"{n}.png", b"content" * n) for n in range(6)])
    content = bytearray(path.read_bytes())
    for _ in range(damage.draw(st.integers(1, 5))):
        place = damage.draw(st.integers(0, len(content) - 1))
        content[place : place + damage.draw(st.integers(1, 40))] = damage.draw(
            st.binary(max_size=40)
        )
    path.write_bytes(damage.draw(st.sampled_from([bytes, gzip.compress]))(bytes(content)))
    for name, picture in rows(path):
        assert name.startswith(str(path))
        assert isinstance(picture, bytes | str)


# IDX.


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_idx_file_is_its_images(
    pack: Callable[[bytes], bytes], images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(pack(idx(images[:5000])))
    found = rows(path)
    assert [name for name, _ in found] == [f"{path}#{n}" for n in range(5000)]
    np.testing.assert_array_equal(np.stack([image[0] for _, image in found]), images[:5000])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(("bytes_left", "whole"), [(16 + 784 * 3 + 100, 3), (16, 0), (9, 0)])
def test_an_idx_file_that_is_cut_off_says_so(
    pack: Callable[[bytes], bytes],
    bytes_left: int,
    whole: int,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(idx(images[:5])[:bytes_left]))
    *found, (name, reason) = rows(path)
    assert len(found) == whole
    assert (name, reason) == (str(path), f"the file is cut off after {whole} images")


def test_an_idx_file_of_other_sides_says_so(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx(np.zeros((3, 32, 30), np.uint8)))
    assert rows(path) == [(str(path), "its images have 32 x 30 pixels, expected 28 x 28")]


def test_a_head_that_lies_is_one_row(images: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "images"
    for pack in (bytes, gzip.compress):
        path.write_bytes(pack(idx(images[:3]).replace(struct.pack(">I", 3), b"\xff" * 4, 1)))
        *found, last = rows(path)
        assert len(found) == 3
        assert last == (str(path), "the file is cut off after 3 images")
        path.write_bytes(
            pack(idx(images[:3]).replace(struct.pack(">I", 3), struct.pack(">I", 2), 1))
        )
        *found, last = rows(path)
        assert len(found) == 2
        assert last[1] == "the file has more data after the 2 images that its header states"


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "whole", "reason"),
    [
        (lambda content: flipped(content, 200_000), 300, "CRC check failed"),  # within an image
        (lambda content: flipped(content, len(content) - 8), 300, "CRC check failed"),
        (lambda content: flipped(content, len(content) - 1), 300, "Incorrect length of data"),
        (lambda content: content[:-5], 300, "Compressed file ended before the end-of-stream"),
        (lambda content: content + b"more", 300, "Not a gzipped file (b'mo')"),
        (lambda content: content[:200_000], 255, "Compressed file ended before the end-of-stream"),
    ],
)
def test_a_compressed_idx_file_is_read_to_its_checksum(
    damage: Callable[[bytes], bytes],
    whole: int,
    reason: str,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    path = tmp_path / "images"
    path.write_bytes(damage(gzip.compress(idx(images[:300]), compresslevel=0)))
    *found, (name, fault) = rows(path)
    assert [name for name, _ in found] == [f"{path}#{n}" for n in range(whole)]
    assert name == str(path)
    assert fault.startswith(f"the file is broken or cut off after {whole} images: {reason}")


@settings(max_examples=100)
@given(damage=st.data())
def test_a_damaged_compressed_idx_file_never_does_more_than_end(
    damage: st.DataObject, images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "images"
    pack = damage.draw(st.sampled_from([gzip.compress, bz2.compress, lzma.compress]))
    content = bytearray(pack(idx(images[:20])))
    for _ in range(damage.draw(st.integers(1, 5))):
        place = damage.draw(st.integers(6, len(content) - 1))
        content[place] ^= damage.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = rows(path)
    assert 0 < len(found) < 22
    assert all(name.startswith(str(path)) for name, _ in found)


# Parquet.


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


# What has rows already.


@given(st.lists(st.integers(0, 150), max_size=4), st.data())
def test_passing_over_leaves_the_rest_and_nothing_else(
    counts: list[int], data: st.DataObject
) -> None:
    shards = [Files(tuple(f"{s}-{n}" for n in range(count))) for s, count in enumerate(counts)]
    names = [name for shard in shards for name in shard.paths]
    done = data.draw(st.integers(0, len(names)))
    last = names[done - 1] if done else None
    left = [
        name
        for span, passed in remaining_chunks(shards, done, last, Skipped())
        for name in span.read().names[passed:]
    ]
    assert left == names[done:]


def test_an_input_that_has_changed_is_noticed() -> None:
    shards = [Files(("a", "b", "c"))]
    with pytest.raises(InputError, match="expected x for the last row, got b; start again"):
        list(remaining_chunks(shards, 2, "x", Skipped()))
    with pytest.raises(InputError, match="expected x for the last row, got c; start again"):
        list(remaining_chunks(shards, 3, "x", Skipped()))
    with pytest.raises(InputError, match="it has fewer images than there are rows \\(1 fewer\\)"):
        list(remaining_chunks(shards, 4, "d", Skipped()))
