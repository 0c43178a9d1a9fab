"""A tar archive as an input: its pictures, and a reason for what is damaged or too long."""

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.offline.inputs.discovery import find_shards
from service.offline.inputs.image_contents import MAX_FILE_BYTES
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import CHUNK_FILES
from tests.service.offline.inputs.found import (
    blocks,
    rows,
    write_tar,
)
from tests.service.pictures import FASHION


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
