"""The files of an argument: in a folder by their names, otherwise any file."""

import ast
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.offline.inputs.image_files import (
    NO_FILE,
    NO_PICTURE,
    OF_MACOS,
    Skipped,
    Unreadable,
    find_pictures,
    reason_to_skip,
    skipped_summary,
    walk,
)
from tests.pages import run
from tests.serving import ROOT


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_is_its_pictures_and_those_below_sorted(tmp_path: Path) -> None:
    names = ("b.png", "a.JPG", "c/d.webp", "c/a.tiff", "c/e/f.GIF", "z.bmp")
    touch(tmp_path, *names, "notes.txt", "c/model.onnx", "png", ".png")
    found, faults = find_pictures([str(tmp_path)], Skipped())
    assert found == sorted(str(tmp_path / name) for name in names)
    assert faults == []


def test_a_file_that_is_named_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt", "folder/a.png")
    named = [str(tmp_path / "notes.txt"), "-", "missing", str(tmp_path / "folder")]
    found, faults = find_pictures(named, Skipped())
    assert found == [*named[:3], str(tmp_path / "folder" / "a.png")]
    assert faults == []


def test_a_folder_without_a_picture_is_a_fault(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    found, faults = find_pictures([str(tmp_path)], Skipped())
    assert found == []
    assert faults == [f"{tmp_path}: there is no picture in this folder, by its files' names"]


def test_neither_links_that_go_round_nor_pipes_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert find_pictures([str(tmp_path)], Skipped()) == ([str(tmp_path / "a.png")], [])


def test_a_link_to_what_is_gone_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "missing")
    assert find_pictures([str(tmp_path)], Skipped()) == ([str(tmp_path / "gone.png")], [])


def test_a_link_to_itself_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    expected = [str(tmp_path / name) for name in ("a.png", "itself.png")]
    assert find_pictures([str(tmp_path)], Skipped()) == (expected, [])
    assert find_pictures([expected[1]], Skipped()) == ([expected[1]], [])


@pytest.mark.parametrize("name", ["x" * 300, "a.png/b.png", "x/" * 3000])
def test_a_name_that_leads_nowhere_stands_for_itself(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    path = f"{tmp_path}/{name}"
    assert find_pictures([path], Skipped()) == ([path], [])


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Folders below each other, deeper than a name may say, with a picture in each."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.close(os.open("a.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        os.mkdir("d" * 250, dir_fd=folder)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    return tmp_path


def test_a_folder_that_cannot_be_read_is_a_fault_and_the_rest_goes_on(deep: Path) -> None:
    touch(deep, "z.png")
    *found, last = walk(str(deep), Skipped())
    *pictures, fault = found
    assert 10 < len(pictures) < 20
    assert isinstance(fault, Unreadable)
    assert fault.reason == "File name too long"
    assert last == str(deep / "z.png")
    files, faults = find_pictures([str(deep)], Skipped())
    assert files == [*pictures, last]
    assert faults == [f"{fault.path}: File name too long"]


def test_folders_below_each_other_are_walked_to_their_end(tmp_path: Path) -> None:
    depth = 1100  # more than Python calls itself
    folders = [str(tmp_path)]
    for _ in range(depth):
        folders.append(f"{folders[-1]}/d")
        Path(folders[-1]).mkdir()
    touch(Path(folders[-1]), "a.png")
    try:
        assert list(walk(str(tmp_path), Skipped())) == [f"{folders[-1]}/a.png"]
    finally:
        Path(folders[-1], "a.png").unlink()
        for folder in reversed(folders[1:]):
            Path(folder).rmdir()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, None) for name in ("a.png", "a.PNG", "d/a.JPG", "a.jfif", "a.TIFF", "a.dib")),
        *((name, None) for name in ("a.JPE", ".a.png", "a._b.png", "a.b.GIF", "a.webp", "a.bmp")),
        *((name, NO_PICTURE) for name in ("a", "png", ".png", "d/.png", "a.png/b", "a.txt")),
        *((name, OF_MACOS) for name in ("._a.png", "d/._a.png", "__MACOSX/a.png", "._", "._x")),
        ("d/__MACOSX/e/a.png", OF_MACOS),
    ],
)
def test_a_name_says_what_is_a_picture(name: str, reason: str | None) -> None:
    assert reason_to_skip(name) == reason


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "._a.png", "__MACOSX/._a.png", "notes.txt", ".DS_Store", "b/c.JFIF")
    (tmp_path / "folder.png").symlink_to(tmp_path / "b")
    (tmp_path / "folder").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
    skipped = Skipped()
    files, faults = find_pictures([str(tmp_path)], skipped)
    assert files == [str(tmp_path / "a.png"), str(tmp_path / "b" / "c.JFIF")]
    assert faults == []
    assert skipped == {NO_PICTURE: 2, OF_MACOS: 2, NO_FILE: 4}
    assert skipped_summary(skipped) == (
        "skipped: 8 (a link to a folder, or not a regular file: 4, not a picture by its name: 2, "
        "of macOS: 2)"
    )
    assert skipped_summary(Skipped()) == ""


FIND = """
import sys
from service.offline.inputs.image_files import Skipped, find_pictures
print(find_pictures(sys.argv[1:], Skipped()))
"""
# Root may read every folder, unless these rights are taken from it.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") * (os.geteuid() == 0)


def test_a_closed_folder_is_a_fault(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    named = str(tmp_path / "closed" / "b.png")
    try:
        printed = run([*AS_ANYBODY, sys.executable, "-c", FIND, str(tmp_path), named], ROOT, {})
    finally:
        (tmp_path / "closed").chmod(0o700)
    found, faults = ast.literal_eval(printed)
    assert found == [str(tmp_path / "a.png"), named]
    assert faults == [f"{tmp_path / 'closed'}: Permission denied"]
