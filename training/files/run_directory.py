"""The folder of one run and its files.

checkpoint.safetensors   the trained network
metrics.json             losses and accuracies, epoch by epoch
curves.png               the same as a figure
log.jsonl                one JSON object per event, for tools
resume.pt                the state for --resume; removed when the run is finished

`python -m training report` adds the figures in `PICTURES`, and `python -m export` may have written
a model and its proof beside the checkpoint.
"""

import errno
import hashlib
import io
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from training.errors import RunError
from training.files.atomic_write import write_atomically, write_together
from training.files.folders import check_folder, make_folder

PICTURES = ("confusion_matrix.png", "per_class.png", "mistakes.png", "batch_norm.png")
PROOF = "equivalence.json"


class RunDirectory:
    """The folder that one run writes to."""

    def __init__(self, path: Path) -> None:
        """Set the paths; nothing is read or written yet."""
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.json"
        self.curves = path / "curves.png"
        self.log = path / "log.jsonl"
        self.state = path / "resume.pt"
        self.pictures = tuple(path / name for name in PICTURES)

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Check that a run can be written and would not overwrite another; nothing is changed.

        Raises:
            RunError: the folder cannot be created or written, there is no run to resume, or a run
                would be overwritten.
        """
        check_folder(self.path)
        if resume and not self.state.exists():
            raise RunError(
                f"{self.path} holds no unfinished run (no {self.state.name}): leave out --resume"
            )
        if resume or overwrite:
            return
        if self.state.exists():
            raise RunError(
                f"{self.path} holds an unfinished run: add --resume to continue it, choose "
                "another --out, or add --overwrite to lose it"
            )
        found = [path.name for path in self._own() if path.exists()]
        if found:
            raise RunError(
                f"{self.path} holds another run ({', '.join(found)}): choose another --out, or add "
                "--overwrite to lose it"
            )

    def begin(self, *, resume: bool) -> None:
        """Create the folder, and remove the files of a previous run.

        For a resumed run only the figures are removed, because they show an older checkpoint.

        Raises:
            RunError: the folder cannot be created or written.
        """
        make_folder(self.path)
        try:
            log = self.log.read_bytes() if resume and self.log.exists() else b""
            for path in self.pictures if resume else [*self._exported(), *self._own()]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot use the folder {self.path}: {error.strerror} ({error.filename}); choose "
                "another --out"
            ) from error
        # After a crash the last line may be incomplete.
        write_atomically(self.log, log[: log.rfind(b"\n") + 1])

    def _own(self) -> Iterator[Path]:
        """Yield the files of training and its report; the checkpoint is last: the rest needs it."""
        yield from (self.state, self.log, self.metrics, self.curves, *self.pictures)
        yield self.checkpoint

    def _exported(self) -> Iterator[Path]:
        """Yield the proof that names this run's checkpoint, and the models that it proves."""
        proof = self.path / PROOF
        try:
            report = json.loads(proof.read_bytes())
            if report["checkpoint_sha256"] != _sha256(self.checkpoint):
                return
            digest = report["model_sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # there is no proof, or it is from another program
        yield proof
        for path in self.path.glob("*.onnx"):
            if path.is_file() and _sha256(path) == digest:
                yield path

    def write_results(self, metrics: Mapping[str, Any], curves: bytes, checkpoint: bytes) -> None:
        """Write metrics.json, curves.png and the checkpoint together, atomically."""
        text = json.dumps(metrics, indent=2) + "\n"
        write_together({self.metrics: text, self.curves: curves, self.checkpoint: checkpoint})

    def write_log(self, event: str, **values: Any) -> None:
        """Append one event to log.jsonl.

        Raises:
            RunError: it cannot be written; no partial line remains.
        """
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        content = (json.dumps({**line, **values}) + "\n").encode()
        try:
            with self.log.open("ab", buffering=0) as file:
                before = file.seek(0, os.SEEK_END)
                if file.write(content) < len(content):
                    file.truncate(before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RunError(f"cannot write {self.log}: {error.strerror}; make room there") from error

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the resume file."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_atomically(self.state, buffer.getvalue())

    def load_state(self) -> dict[str, Any]:
        """Return the content of the resume file, with tensors on the CPU.

        Raises:
            RunError: it is damaged, or not a resume file.
        """
        with self.understanding_state():
            try:
                state = torch.load(self.state, map_location="cpu", weights_only=True)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                raise ValueError(str(error) or type(error).__name__) from error
            if not isinstance(state, dict):
                raise TypeError(f"it holds {type(state).__name__}, not a run's state")
            return state

    @contextmanager
    def understanding_state(self) -> Iterator[None]:
        """In this context, an error means that the resume file is damaged or of another version.

        Raises:
            RunError: replaces the error, with its first line as the reason.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{self.state} is damaged, or another version's ({reason}): train again with "
                "--overwrite, or into another --out"
            ) from error

    def remove_state(self) -> None:
        """Delete the resume file, because the run is finished."""
        self.state.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
