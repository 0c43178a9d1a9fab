"""Inputs: each picture is found once and in order, and rows that exist are skipped."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InputError
from service.offline.inputs.discovery import Files, remaining_chunks
from service.offline.inputs.image_contents import MAX_FILE_BYTES
from service.offline.inputs.image_files import Skipped
from tests.service.offline.inputs.found import rows

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
