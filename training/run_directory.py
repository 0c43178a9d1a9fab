"""The folder of one run, and what is written there.

checkpoint.safetensors   the trained network
metrics.json             what it achieved, epoch by epoch
curves.png               the same as a picture
log.jsonl                one JSON object per event, for tools
resume.pt                all that --resume needs; removed when the run is finished
"""

import io
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from training.atomic_write import write_atomically
from training.errors import RunError


class RunDirectory:
    """Where one run writes."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.json"
        self.curves = path / "curves.png"
        self.log = path / "log.jsonl"
        self.state = path / "resume.pt"

    def prepare(self, *, resume: bool) -> None:
        """Make the folder and try writing, before any time is spent on training.

        Raises:
            RunError: the folder cannot be made or written, there is nothing to
                resume, or an unfinished run would be overwritten.
        """
        if resume and not self.state.exists():
            raise RunError(
                f"{self.path} holds no unfinished run (no {self.state.name}): leave out --resume"
            )
        if not resume and self.state.exists():
            raise RunError(
                f"{self.path} holds an unfinished run: add --resume to go on with it, choose "
                f"another --out, or delete {self.state}"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make the folder {self.path}: {error.strerror}; choose another --out"
            ) from error
        write_atomically(self.log, self.log.read_bytes() if resume and self.log.exists() else b"")

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        write_atomically(self.metrics, json.dumps(metrics, indent=2) + "\n")

    def write_log(self, event: str, **values: Any) -> None:
        """Append one event to log.jsonl."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **values}) + "\n")

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the resume file."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_atomically(self.state, buffer.getvalue())

    def load_state(self) -> dict[str, Any]:
        """Read the resume file; tensors arrive on the CPU.

        Raises:
            RunError: it is damaged.
        """
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(
                f"{self.state} is damaged ({reason}): delete it and train again"
            ) from error
        return state

    def remove_state(self) -> None:
        """Forget the resume file: the run is finished."""
        self.state.unlink(missing_ok=True)
