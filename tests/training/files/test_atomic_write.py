"""Files are whole or not there."""

import os
from pathlib import Path

import pytest

from training.errors import RunError
from training.files.atomic_write import write_atomically, write_together


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "é")
    write_atomically(tmp_path / "b", b"\0")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9"
    assert (tmp_path / "b").read_bytes() == b"\0"


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old")

    def fail(_: int) -> None:
        raise failure

    monkeypatch.setattr("training.files.atomic_write.os.fsync", fail)
    with pytest.raises((RunError, KeyboardInterrupt)):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*absent/a: No such file or directory; choo"):
        write_atomically(tmp_path / "absent" / "a", "")


def test_a_name_as_long_as_a_file_system_takes_is_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("x" * 255), "content")
    assert (tmp_path / ("x" * 255)).read_text() == "content"


@pytest.mark.parametrize("name", ["x" * 256, "folder", "file/below"])
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*: .*; choose a folder that exists"):
        write_atomically(tmp_path / name, "")
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    link.symlink_to(target)
    for content in ("new", "newer"):
        write_atomically(link, content)
        assert link.is_symlink()
        assert target.read_text() == content


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    link = tmp_path / "link"  # as /dev/stdout is one
    link.symlink_to(f"/proc/self/fd/{writing}")
    write_atomically(link, "content")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "content"
    assert link.is_symlink()


def test_a_full_device_is_told(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"cannot write .*link: No space left on device"):
        write_atomically(link, "content")
    assert link.is_symlink()


def test_of_several_files_none_is_replaced_before_all_are_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    new = {tmp_path / "a": "new", tmp_path / "b": "new", tmp_path / "absent" / "c": "new"}
    with pytest.raises(RunError, match="absent/c"):
        write_together(new)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "old"}
    del new[tmp_path / "absent" / "c"]
    write_together(new)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}
