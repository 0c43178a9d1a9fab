"""Files are whole or not there."""

import os
from pathlib import Path

import pytest

from training.atomic_write import write_atomically
from training.errors import RunError


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

    monkeypatch.setattr("training.atomic_write.os.fsync", fail)
    with pytest.raises((RunError, KeyboardInterrupt)):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*absent/a: No such file or directory; choo"):
        write_atomically(tmp_path / "absent" / "a", "")
