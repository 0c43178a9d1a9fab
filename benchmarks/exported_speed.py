"""Images a second of our ONNX files as a ratio to torch.onnx's of the same networks.

    python -m benchmarks.exported_speed [--dynamo] [NAME ...]

The networks and their names are those of `benchmarks.exported_networks`. Both files run in ONNX
Runtime on one thread of the CPU, in turns, so that other work on the machine slows both. Ours takes
bytes and normalises them. torch.onnx's is made twice: of the network with its normalisation before
it, which takes bytes too, and of the network alone, which is given values that are normalised
already. Printed for 1 and 32 images: our images a second, and the ratio to each, by median times.
--dynamo takes torch.onnx's exporter that needs the package onnxscript, which is no part of
development.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from benchmarks.exported_networks import NETWORKS, NORMALIZATION, network, normalised
from export.folding.fold import fold_with_report
from export.onnx_file.emission import emit
from export.onnx_file.outputs import OPTIMISATIONS
from export.onnx_file.session import open_session

COUNTS = (1, 32)
FEWEST, SECONDS = 15, 4.0  # turns, and for how long at least


def paired(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return the median seconds of two calls that are made in turns."""
    calls = (ours, theirs)
    times: tuple[list[float], list[float]] = ([], [])
    for call in calls:
        call()
    end = time.perf_counter() + SECONDS
    while len(times[0]) < FEWEST or time.perf_counter() < end:
        first = len(times[0]) % 2
        for which in (first, 1 - first):
            start = time.perf_counter()
            calls[which]()
            times[which].append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


class FromBytes(nn.Module):
    """A network with its normalisation."""

    def __init__(self, network: nn.Module) -> None:
        """Keep the network, and mean and standard deviation as (3, 1, 1)."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(NORMALIZATION.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(NORMALIZATION.std).reshape(3, 1, 1))

    def forward(self, X: Tensor) -> Tensor:
        """Images (N, 3, S, S) uint8 to logits (N, K)."""
        return self.network((X.float() / 255 - self.mean) / self.std)


def torch_onnx(model: nn.Module, X: Tensor, dynamo: bool) -> ort.InferenceSession:
    """Return a session of torch.onnx's file, for any number of images."""
    if dynamo:
        batch = {0: torch.export.Dim("batch")}
        options = {"dynamic_shapes": (batch,), "dynamo": True, "verbose": False}
    else:
        options = {"dynamic_axes": {"image": {0: "batch"}}, "dynamo": False}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, (X,), path, input_names=["image"], **options)
        return open_session(str(path), OPTIMISATIONS["default"])


def measure(name: str, dynamo: bool) -> str:
    """Return a network's row of the table."""
    model, images = network(name)  # images (8, 3, S, S)
    X = normalised(images).float()  # (8, 3, S, S)
    emitted = emit(fold_with_report(model, X.double(), NORMALIZATION).network).model
    ours = open_session(emitted.SerializeToString(), OPTIMISATIONS["default"])
    theirs = (
        (torch_onnx(FromBytes(model).eval(), images, dynamo), images),
        (torch_onnx(model, X, dynamo), X),
    )
    cells = []
    for count in COUNTS:
        ratios = []
        for session, source in theirs:
            some, given = (
                np.resize(tensor.numpy(), (count, *tensor.shape[1:])) for tensor in (images, source)
            )  # (B, 3, S, S) each
            seconds = paired(
                lambda some=some: ours.run(["logits"], {"image": some}),
                lambda session=session, given=given: session.run(None, {"image": given}),
            )
            ratios.append(f"{seconds[1] / seconds[0]:.2f}")
        cells += [f"{count / seconds[0]:,.0f}", *ratios]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--dynamo", action="store_true")
    arguments = parser.parse_args()
    print("| network |" + "".join(f" batch {n}, images/s | to bytes | to values |" for n in COUNTS))
    print("|---" * (1 + 3 * len(COUNTS)) + "|")
    for name in arguments.names:
        print(measure(name, arguments.dynamo), flush=True)


if __name__ == "__main__":
    main()
