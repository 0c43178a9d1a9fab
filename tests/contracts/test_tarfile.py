"""tarfile of the standard library: the members that it has read may be forgotten.

Stood on by `service.tar_shard`.
"""

import io
import tarfile


def test_members_that_are_forgotten_are_read_all_the_same() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for n in range(5):
            info = tarfile.TarInfo(f"{n}.png")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"%d23" % n))
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        found = []
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]
            read = archive.extractfile(member)
            assert read
            found.append((member.name, read.read(), member.offset_data))
    assert [name for name, _, _ in found] == [f"{n}.png" for n in range(5)]
    for n, (_, content, offset) in enumerate(found):
        assert content == file.getvalue()[offset : offset + 3] == b"%d23" % n
