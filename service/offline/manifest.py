"""The manifest: a small file that says what the results were made from.

A run resumes only if its manifest is the same.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

import orjson

from service.errors import InputError


def inputs(arguments: Iterable[str]) -> list[dict[str, Any]]:
    """Return a description of the inputs: path, size and time of files, path of folders."""
    return [_input(argument) for argument in arguments]


def claim_output(out: Path, content: Mapping[str, Any], resume: bool) -> None:
    """Write the manifest for a new output, or check the manifest of an existing one.

    Args:
        out: path of the results.
        content: the manifest, as a JSON object.
        resume: whether to continue existing results.

    Raises:
        InputError: the output exists already, or was made from something else.
        OSError: the manifest cannot be written.
    """
    path = out.with_name(f"{out.name}.manifest.json")
    if not path.exists():
        if out.exists():
            raise InputError(f"--out {out}: it exists, but has no manifest: name another")
        _write(path, content)
    elif not resume:
        raise InputError(f"--out {out}: it exists: continue with --resume, or remove it and {path}")
    else:
        before = _read(path, out)
        changed = [key for key in content if before.get(key) != content[key]]
        if changed:
            was = "; ".join(f"{key} was {_short(before.get(key))}" for key in changed)
            now = "; ".join(f"{key} is {_short(content[key])}" for key in changed)
            raise InputError(f"--resume: {out} was made from something else: {was}; now {now}")


def _read(path: Path, out: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(path.read_bytes())
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    raise InputError(
        f"--resume: {path} is damaged, perhaps by a power loss: what {out} was made from is "
        "unknown: remove both, and start again"
    )


def _input(argument: str) -> dict[str, Any]:
    described: dict[str, Any] = {"path": _shown(argument)}
    with suppress(OSError):  # reported when the file is read
        # Path.resolve raises if links form a cycle.
        described["path"] = _shown(os.path.realpath(argument))
        status = Path(argument).stat()
        if S_ISREG(status.st_mode):
            described |= {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return described


def _shown(path: str) -> str:
    return os.fsencode(path).decode(errors="replace")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file atomically: it is complete or absent."""
    torn = path.with_name(f"{path.name}.tmp")
    with torn.open("wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    torn.rename(path)


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 200 else f"{text[:200]}..."
