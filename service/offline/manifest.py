"""What a result file was made of, in a small file beside it: none is gone on with wrongly."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

import orjson

from service.errors import InputError


def inputs(arguments: Iterable[str]) -> list[dict[str, Any]]:
    """Describe the input: of files size and time, of folders no more than their names."""
    return [_input(argument) for argument in arguments]


def claim_output(out: Path, content: Mapping[str, Any], resume: bool) -> None:
    """Make a path ours before anything is written to it, or see that it is.

    Args:
        out: where the results go.
        content: what they are made of, as JSON has it.
        resume: whether to go on with what is there.

    Raises:
        InputError: there is something already, or it was made of something else.
        OSError: nothing can be written there.
    """
    path = out.with_name(f"{out.name}.manifest.json")
    if not path.exists():
        if out.exists():
            raise InputError(f"--out {out}: it exists, and was not made here: name another")
        _write(path, content)
    elif not resume:
        raise InputError(f"--out {out}: it exists: go on with --resume, or remove it and {path}")
    else:
        before = _read(path, out)
        changed = [key for key in content if before.get(key) != content[key]]
        if changed:
            was = "; ".join(f"{key} was {_short(before.get(key))}" for key in changed)
            now = "; ".join(f"{key} is {_short(content[key])}" for key in changed)
            raise InputError(f"--resume: {out} was made of something else: {was}; now {now}")


def _read(path: Path, out: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(path.read_bytes())
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    raise InputError(
        f"--resume: {path} is damaged, perhaps by a power loss: nothing tells what {out} was made "
        "of: remove both, and begin anew"
    )


def _input(argument: str) -> dict[str, Any]:
    described: dict[str, Any] = {"path": _shown(argument)}
    with suppress(OSError):  # whoever reads it says so
        # A path's own way to resolve raises where links go round.
        described["path"] = _shown(os.path.realpath(argument))
        status = Path(argument).stat()
        if S_ISREG(status.st_mode):
            described |= {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return described


def _shown(path: str) -> str:
    return os.fsencode(path).decode(errors="replace")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is whole or not there."""
    torn = path.with_name(f"{path.name}.tmp")
    with torn.open("wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    torn.rename(path)


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 200 else f"{text[:200]}..."
