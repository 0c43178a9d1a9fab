"""What a manifest says of the inputs, and which results may be continued."""

import os
from pathlib import Path
from typing import Any

import pytest

from service.errors import InputError
from service.offline.manifest import claim_output, inputs


def test_a_file_has_its_path_size_and_time_and_a_folder_its_path(tmp_path: Path) -> None:
    file, link, missing = (tmp_path / name for name in ("images.tar", "link", "missing"))
    file.write_bytes(b"abc")
    os.utime(file, ns=(1, 1_700_000_000_123_456_789))
    link.symlink_to(file)
    described = {"path": str(file), "bytes": 3, "modified_ns": file.stat().st_mtime_ns}
    assert inputs(map(str, (file, link, tmp_path, missing))) == [
        described,
        described,
        {"path": str(tmp_path)},
        {"path": str(missing)},
    ]


def test_a_path_that_is_no_text_is_described(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    assert inputs([path]) == [{"path": f"{tmp_path}/\ufffd"}]


def test_a_new_output_gets_a_manifest_that_people_can_read(tmp_path: Path) -> None:
    claim_output(tmp_path / "rows.jsonl", {"mode": "auto", "top_k": None}, resume=False)
    text = (tmp_path / "rows.jsonl.manifest.json").read_text()
    assert text == '{\n  "mode": "auto",\n  "top_k": null\n}'


def refused(out: Path, content: dict[str, Any], *, resume: bool) -> str:
    with pytest.raises(InputError) as caught:
        claim_output(out, content, resume=resume)
    return str(caught.value)


def test_an_output_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    out, manifest = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.manifest.json"
    out.touch()
    for resume in (False, True):
        assert refused(out, {}, resume=resume) == (
            f"--out {out}: it exists, but has no manifest: name another"
        )
    manifest.write_bytes(b"{}")
    assert refused(out, {}, resume=False) == (
        f"--out {out}: it exists: continue with --resume, or remove it and {manifest}"
    )
    claim_output(out, {}, resume=True)


@pytest.mark.parametrize(
    ("mode", "was"),
    [("x" * 198, f'"{"x" * 198}"'), ("x" * 199, f'"{"x" * 199}...')],
    ids=["200 characters of JSON", "201 characters of JSON"],
)
def test_what_has_changed_is_named_with_both_values(mode: str, was: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    claim_output(out, {"mode": mode, "version": "1.0.0"}, resume=False)
    assert refused(out, {"mode": "photo", "version": "1.0.0", "top_k": 3}, resume=True) == (
        f"--resume: {out} was made from something else: mode was {was}; top_k was null; "
        'now mode is "photo"; top_k is 3'
    )


@pytest.mark.parametrize("content", [b"", bytes(500), b"[1]", b'{"inputs": [', b"\xff", b"3"])
def test_a_damaged_manifest_is_told_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    out, manifest = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.manifest.json"
    out.write_bytes(b"{}\n")
    manifest.write_bytes(content)
    assert refused(out, {"mode": "auto"}, resume=True) == (
        f"--resume: {manifest} is damaged, perhaps by a power loss: what {out} was made from is "
        "unknown: remove both, and start again"
    )
