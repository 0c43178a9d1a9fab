"""Each network through export and a real server, held to ONNX Runtime here and to PyTorch.

    python -m benchmarks.served_networks [NAME ...]

The networks and their names are those of `benchmarks.exported_networks`. `make serve`'s server
gets a network's images as bytes of the Open Inference Protocol, one alone and then all together.
Printed: criterion A, the graph's error in float64, and B, ONNX Runtime's error over eval mode's
own; for how many images the served logits are ONNX Runtime's in this process, to the bit; how many
classes are PyTorch's in float64, of those that rounding cannot decide; seconds. The exit status is
1 if a network is refused, a bit differs, or a class is another.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from benchmarks.exported_networks import NETWORKS, NORMALIZATION, network, normalised
from benchmarks.http.peers import running
from benchmarks.http.shipped import shipped
from export import export_network
from export.errors import ExportError
from export.folding.tracing import float64_copy
from export.onnx_file.outputs import OPTIMISATIONS
from export.onnx_file.session import open_session
from export.verification.verification import DATA, Verification

NAME = "network"


@dataclass(frozen=True)
class Served:
    """What a server answered for N images."""

    images: int
    same_bits: int  # images, sent alone and together
    decided: int  # images whose best class leads by more than rounding
    same_class: int  # of these
    found: Verification

    @property
    def passed(self) -> bool:
        """Return whether all logits have the same bits and all decided classes are the same."""
        return (self.same_bits, self.same_class) == (2 * self.images, self.decided)


def measure(name: str) -> Served:
    """Export a network, serve it, and compare the answers.

    Raises:
        ExportError: the network is refused.
    """
    model, images = network(name)  # images (N, 3, S, S)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        path = folder / "model.onnx"
        proof = export_network(
            model, images, out=path, mean=NORMALIZATION.mean, std=NORMALIZATION.std, name=NAME
        )
        content = path.read_bytes()
        server = shipped()
        with running(server, folder, settings={"FASHION_MODEL": str(path)}):
            alone = [infer(server.port, image[None]) for image in images.numpy()]
            together = infer(server.port, images.numpy())  # (N, K)
    session = open_session(content, OPTIMISATIONS["default"])
    given = [*images.numpy()[:, None], images.numpy()]  # (1, 3, S, S) each, and (N, 3, S, S)
    here = np.concatenate([session.run(["logits"], {"image": X})[0] for X in given])  # (2N, K)
    served = np.concatenate([*alone, together])  # (2N, K)
    same_bits = (here.view(np.uint32) == served.view(np.uint32)).all(axis=1)  # (2N,)

    with torch.no_grad():
        exact = float64_copy(model)(normalised(images)).numpy()  # (N, K)
    ranked = np.sort(exact, axis=1)  # (N, K)
    decided = ranked[:, -1] - ranked[:, -2] > 2 * proof.verification.allowed(DATA)  # (N,)
    same_class = together.argmax(axis=1) == exact.argmax(axis=1)  # (N,)
    return Served(
        len(images),
        int(same_bits.sum()),
        int(decided.sum()),
        int((same_class & decided).sum()),
        proof.verification,
    )


def infer(port: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the served logits (N, K) of images (N, C, H, W), bytes both ways."""
    with InferenceServerClient(f"127.0.0.1:{port}", network_timeout=300) as client:
        given = InferInput("image", images.shape, "UINT8")
        given.set_data_from_numpy(images)
        wanted = [InferRequestedOutput("logits")]
        return client.infer(NAME, [given], outputs=wanted).as_numpy("logits")


def row(name: str, served: Served, seconds: float) -> str:
    """Return a network's row of the table."""
    found = served.found
    graph = "unknown operator" if found.graph is None else f"{found.graph.error:.1e}"
    cells = [
        graph,
        f"{found.error(DATA) / found.own_error:.2f}",
        f"{served.same_bits} of {2 * served.images}",
        f"{served.same_class} of {served.decided}",
        f"{seconds:.0f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(NETWORKS), metavar="NAME")
    print("| network | A | B | same bits | same classes | s |")
    print("|---" * 6 + "|")
    failed = 0
    for name in parser.parse_args().names:
        start = time.perf_counter()
        try:
            served = measure(name)
        except ExportError as error:
            print(f"| {name} | refused: {error} |", flush=True)
            failed += 1
            continue
        failed += not served.passed
        print(row(name, served, time.perf_counter() - start), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
