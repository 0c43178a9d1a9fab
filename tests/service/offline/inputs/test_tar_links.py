"""Links within a tar archive: each name is a row, with the picture that it leads to."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.service.offline.inputs.found import Row, rows

KINDS = {"file": tarfile.REGTYPE, "hard": tarfile.LNKTYPE, "symbolic": tarfile.SYMTYPE}
MODES = pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
Entry = tuple[str, str, str | bytes]  # name, kind, target or content


def write(path: Path, entries: list[Entry], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, kind, what in entries:
            info = tarfile.TarInfo(name)
            info.type = KINDS[kind]
            if isinstance(what, str):
                info.linkname = what
                archive.addfile(info)
            else:
                info.size = len(what)
                archive.addfile(info, io.BytesIO(what))
    return path


def found(path: Path) -> list[Row]:
    return [(name.removeprefix(f"{path}:"), picture) for name, picture in rows(path)]


@MODES
def test_links_are_rows_with_what_they_lead_to(mode: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "some.tar",
        [
            ("before.png", "symbolic", "a/coat.png"),  # what comes later
            ("a/coat.png", "file", b"coat"),
            ("hard.png", "hard", "a/coat.png"),
            ("a/near.png", "symbolic", "coat.png"),
            ("b/up.png", "symbolic", "../a/coat.png"),
            ("root.png", "symbolic", "/a/coat.png"),
            ("again.png", "symbolic", "b/up.png"),
            ("latest", "symbolic", "a"),
            ("through.png", "symbolic", "latest/coat.png"),
            ("b/blob.png", "symbolic", "../blobs/1234"),
            ("blobs/1234", "file", b"blob"),
            ("hard_to_link.png", "hard", "b/up.png"),
            ("./dot.png", "hard", "./a/coat.png"),
        ],
        mode,
    )
    assert found(path) == [
        ("before.png", b"coat"),
        ("a/coat.png", b"coat"),
        ("hard.png", b"coat"),
        ("a/near.png", b"coat"),
        ("b/up.png", b"coat"),
        ("root.png", b"coat"),
        ("again.png", b"coat"),
        ("through.png", b"coat"),
        ("b/blob.png", b"blob"),
        ("hard_to_link.png", b"coat"),
        ("./dot.png", b"coat"),
    ]


@MODES
def test_a_link_that_leads_to_no_file_says_so_and_the_rest_goes_on(
    mode: str, tmp_path: Path
) -> None:
    links: dict[str, tuple[str, str]] = {
        "itself.png": ("symbolic", "itself.png"),
        "round.png": ("symbolic", "about.png"),
        "about.png": ("symbolic", "round.png"),
        "deeper.png": ("symbolic", "deeper.png/x"),
        "gone.png": ("hard", "nowhere.png"),
        "outside.png": ("symbolic", "../../etc/passwd"),
        "folder.png": ("symbolic", "a"),
        "strange.png": ("symbolic", "\udcff.png"),
        "long.png": ("symbolic", "x/" * 3000),
    }
    entries: list[Entry] = [(name, kind, target) for name, (kind, target) in links.items()]
    path = write(tmp_path / "some.tar", [*entries, ("a/coat.png", "file", b"coat")], mode)
    *faults, last = found(path)
    assert last == ("a/coat.png", b"coat")
    assert [name for name, _ in faults] == list(links)
    for (_, reason), (name, (_, target)) in zip(faults, links.items(), strict=True):
        shown = target.encode("utf-8", "backslashreplace").decode()
        expected = f"it is a link to {shown}, which is not a file in the archive"
        if name == "long.png":
            expected = "its name or link has 6,000 characters, expected at most 4,096"
        assert reason == expected


def test_a_hard_link_leads_to_what_had_the_name_before(tmp_path: Path) -> None:
    entries: list[Entry] = [
        ("a.png", "file", b"old"),
        ("hard.png", "hard", "a.png"),
        ("symbolic.png", "symbolic", "a.png"),
        ("a.png", "file", b"new"),
    ]
    path = write(tmp_path / "some.tar", entries)
    assert [picture for _, picture in found(path)] == [b"old", b"old", b"new", b"new"]


def test_two_names_of_one_file_are_two_rows(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    subprocess.run(["tar", "cf", "some.tar", "a.png", "b.png"], cwd=tmp_path, check=True)  # noqa: S607
    assert found(tmp_path / "some.tar") == [("a.png", b"picture"), ("b.png", b"picture")]


def test_what_links_of_a_compressed_archive_lead_to_is_held_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.offline.inputs.tar_links.CONTENTS_BYTES", 2500)
    entries: list[Entry] = []
    for n in range(4):
        entries += [(f"{n}", "file", bytes(1000)), (f"{n}.png", "hard", f"{n}")]
    pictures = [picture for _, picture in found(write(tmp_path / "some.tgz", entries, "w:gz"))]
    reason = "links lead to more than 268,435,456 bytes: decompress the archive first"
    assert pictures == [bytes(1000), bytes(1000), reason, reason]
    pictures = [picture for _, picture in found(write(tmp_path / "some.tar", entries))]
    assert pictures == [bytes(1000)] * 4
