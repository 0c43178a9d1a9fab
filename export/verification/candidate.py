"""An ONNX file to be judged: its one input of images, its output of logits, and its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.errors import ModelError, one_line
from export.network.loading import Network
from export.onnx_file.outputs import OPTIMISATIONS
from export.onnx_file.session import open_session

BYTES, VALUES = "tensor(uint8)", "tensor(float)"
FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
LOGITS = "logits"  # which output is meant, if several fit


@dataclass(frozen=True)
class Candidate:
    """A file that ONNX Runtime reads, and that has the network's interface."""

    path: Path
    input: str
    takes_bytes: bool  # uint8, else float32 normalised values
    batch: int | None  # how many images it takes at once; None for any number
    output: str
    num_classes: int
    sessions: dict[str, ort.InferenceSession]  # by name of `OPTIMISATIONS`

    def logits(self, optimisation: str, images: Tensor, values: Tensor) -> NDArray[np.floating]:
        """Return the logits (N, K) that ONNX Runtime computes on the CPU.

        Args:
            optimisation: one of `OPTIMISATIONS`.
            images: (N, C, H, W) uint8.
            values: the same images, normalised, float32.

        Raises:
            ModelError: ONNX Runtime cannot compute it, or its output has another shape.
        """
        given = images if self.takes_bytes else values
        size = self.batch or len(given)
        parts = [self._run(self.sessions[optimisation], part) for part in torch.split(given, size)]
        return np.concatenate(parts)[: len(given)]

    def _run(self, session: ort.InferenceSession, given: Tensor) -> NDArray[np.floating]:
        size = self.batch or len(given)
        given = filled(given, size)  # the last batch of a model whose batch is fixed
        try:
            (logits,) = session.run([self.output], {self.input: given.numpy()})
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise ModelError(
                f"ONNX Runtime cannot compute {self.path} for {len(given)} images: "
                f"{one_line(error)}"
            ) from error
        if logits.shape != (size, self.num_classes):
            raise ModelError(
                f"{self.path} gives {self.output} of shape {logits.shape} for {size} images: "
                f"expected ({size}, {self.num_classes})"
            )
        return logits  # type: ignore[no-any-return]


def open_candidate(path: Path, network: Network, output: str | None = None) -> Candidate:
    """Open an ONNX file, and find its input and the output that has the logits.

    Args:
        path: the file; external data lies beside it.
        network: the network that it should compute.
        output: the name of the logits, if several outputs have their shape.

    Raises:
        ModelError: ONNX Runtime cannot read it, or it has another interface.
    """
    if not path.is_file():
        raise ModelError(f"cannot read the model {path}: it is not a file; name a model.onnx")
    sessions = {name: open_session(str(path), level) for name, level in OPTIMISATIONS.items()}
    first = sessions["default"]
    taken = _input(path, first.get_inputs(), network)
    batch = taken.shape[0] if taken.shape and isinstance(taken.shape[0], int) else None
    given = _output(path, first.get_outputs(), network.num_classes, output)
    return Candidate(
        path, taken.name, taken.type == BYTES, batch, given, network.num_classes, sessions
    )


def filled(images: Tensor, size: int) -> Tensor:
    """Return images (N, C, H, W), of which the first is repeated at the end until there are size.

    More than size are returned as they are.
    """
    missing = max(size - len(images), 0)
    return torch.cat([images, images[:1].expand(missing, -1, -1, -1)]) if missing else images


def load_graph(path: Path) -> onnx.ModelProto:
    """Return a model that ONNX Runtime has read, with its external data.

    Raises:
        ModelError: onnx cannot read it.
    """
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's, onnx's and the system's
        raise ModelError(f"onnx cannot read {path}: {one_line(error)}") from error


def _input(path: Path, inputs: Sequence[Any], network: Network) -> Any:
    """Return the one input, after checking that it takes the network's images."""
    channels, height, width = network.input_format.shape
    right = f"(N, {channels}, {height}, {width})"
    if len(inputs) != 1:
        raise ModelError(
            f"{path} takes {_list(inputs) or 'nothing'}: expected one input of images {right}"
        )
    (taken,) = inputs
    if taken.type not in (BYTES, VALUES):
        raise ModelError(
            f"{path} takes {_describe(taken)}: expected float32 normalised values or uint8 bytes"
        )
    sizes = taken.shape
    fits = len(sizes) == 4 and all(
        not isinstance(have, int) or have == want
        for have, want in zip(sizes[1:], network.input_format.shape, strict=True)
    )
    if sizes and not fits:
        raise ModelError(f"{path} takes {_describe(taken)}: expected images {right}")
    return taken


def _output(path: Path, outputs: Sequence[Any], num_classes: int, wanted: str | None) -> str:
    """Return the name of the output that has the logits."""
    if wanted is not None:
        if wanted not in [output.name for output in outputs]:
            raise ModelError(f"{path} has no output {wanted}: it gives {_list(outputs)}")
        return wanted
    fit = [output for output in outputs if _fits(output, num_classes)]
    named = [output for output in fit if output.name == LOGITS]
    if not fit:
        raise ModelError(
            f"{path} gives {_list(outputs)}: expected logits of shape (N, {num_classes})"
        )
    if len(fit) > 1 and not named:
        raise ModelError(
            f"{path} gives {_list(fit)}, and each could be the logits: name one with --output"
        )
    return str((named or fit)[0].name)


def _fits(output: Any, num_classes: int) -> bool:
    if output.type not in FLOATS:
        return False
    sizes = output.shape
    return not sizes or (
        len(sizes) == 2 and (not isinstance(sizes[1], int) or sizes[1] == num_classes)
    )


def _list(values: Sequence[Any]) -> str:
    return ", ".join(map(_describe, values))


def _describe(value: Any) -> str:
    """Return an input or output as "x float (N, 3, 64, 64)"; "?" is a size without a name."""
    sizes = ", ".join("?" if size is None else str(size) for size in value.shape)
    return f"{value.name} {value.type.removeprefix('tensor(').removesuffix(')')} ({sizes})"
