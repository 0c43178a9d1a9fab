"""The content of a picture's file: a bounded number of bytes, or the reason for the error."""

import os
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from service.offline.inputs.image_contents import MAX_FILE_BYTES, read_picture


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    for content in (b"", b"x", bytes(100_000)):
        (tmp_path / "some").write_bytes(content)
        assert read_picture(str(tmp_path / "some")) == content


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file or directory"),
        ("itself", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("file/x", "Not a directory"),
        (".", "Is a directory"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "file").touch()
    assert read_picture(f"{tmp_path}/{name}") == reason


def test_no_more_is_read_than_a_picture_has(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(50 * 10**9)
    tracemalloc.start()
    reason = read_picture(str(sparse))
    assert tracemalloc.get_traced_memory()[1] < 10**6
    assert reason == "the file has 50,000,000,000 bytes, a picture may have at most 104,857,600"
    endless = read_picture("/dev/zero")
    assert tracemalloc.get_traced_memory()[1] < 1.1 * MAX_FILE_BYTES
    tracemalloc.stop()
    assert endless == (
        "the file has more than 104,857,600 bytes, a picture may have at most 104,857,600"
    )


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (zipped(), "is a zip archive"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "is a 7z archive"),
        (b"Rar!\x1a\x07\0", "is a RAR archive"),
        (b"\x28\xb5\x2f\xfd", "is compressed with zstd"),
    ],
)
@pytest.mark.parametrize("size", [0, MAX_FILE_BYTES + 1])
def test_an_archive_that_is_not_read_says_what_to_do(
    head: bytes, what: str, size: int, tmp_path: Path
) -> None:
    path = tmp_path / "some"
    path.write_bytes(head)
    os.truncate(path, max(size, len(head)))
    assert read_picture(str(path)) == (
        f"it {what}, which is not read: unpack it, and name the folder, or make it a tar"
    )
