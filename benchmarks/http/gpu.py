"""Measure a GPU: images a second in this process and as a service, and the error of its logits.

    python -m benchmarks.http.gpu [--batches 1,4,16,64,256,1024,4096] [--seconds 2]

Without an NVIDIA GPU it says why there is no table, and succeeds. Peers in the same run: the same
model on the CPU, one with CUDA graphs (fixed buffers, a session for each size), and LeNet-BN in
torch on the GPU, unfolded, folded and compiled, each from bytes in the CPU's memory to
probabilities there. Over HTTP, with wrk if it is installed, and over gRPC: the service as
`make serve` starts it, which runs 4,096 images in four batches. Writes runs/gpu.json and
runs/gpu.png, in an estimated six minutes. Run it on a machine that does nothing else.

With TF32 on the differences show whether `NVIDIA_TF32_OVERRIDE=0`, which the service sets, is
obeyed: if so they are as small as with TF32 off.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.http.gpu_chart import draw
from benchmarks.http.gpu_service import Asked, ask_service
from benchmarks.http.load import Load
from benchmarks.http.peers import ROOT
from benchmarks.http.shipped import BENTOML
from benchmarks.stopwatch import Pace, counts, pace
from export.folding.fold import fold
from service.errors import DeviceError
from service.runtime.cuda import CUDA, CUDA_OPTIONS, placement
from service.runtime.gpu_network import GpuNetwork
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.onnx_session import CPU, cpu_session, session_options
from service.runtime.signature import INPUT, LOGITS, PROBABILITIES
from service.settings import RELEASED_MODEL, ServiceSettings
from training.data.fashion_mnist import load_split
from training.data.pixels import to_float
from training.errors import RunError
from training.execution.devices import choose_device, set_up
from training.files.checkpoint import load_checkpoint

BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
CONNECTIONS = (1, 8, 32)
CONTENT = RELEASED_MODEL.read_bytes()
TEST_SET = ROOT / "tests" / "data"
CHECKPOINT = RELEASED_MODEL.with_name("checkpoint.safetensors")
OURS, CHANGING = "service", "service, sizes changing"

Images = NDArray[np.uint8]  # (N, 1, 28, 28)
Device = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class Difference:
    """Logits of the device against the CPU's, over the test images in batches of one size."""

    batch: int
    largest: float
    classes: int  # how many predicted classes differ


def main() -> None:
    """Measure and print each table, then write all."""
    arguments = parse_arguments()
    try:
        start = time.perf_counter()
        model = load_model(ServiceSettings(device=arguments.device))
        seconds = time.perf_counter() - start
        torch_device = choose_device(arguments.device)
    except (DeviceError, RunError) as error:
        print(f"No GPU table: {error}")
        return
    set_up(threads=None)  # TF32 off in torch too
    if model.gpu is None:
        model.use_gpu(GpuNetwork.open(CONTENT, ServiceSettings().max_batch, cpu_session))
    started = {"seconds": seconds, "smallest_on_gpu": model.smallest_on_gpu, **used(torch_device)}
    nodes = {name: len(found) for name, found in placement(CONTENT).items()}
    images = load_split("test", TEST_SET).images.numpy()[: arguments.images]
    where = describe(torch_device)
    print("  ".join(f"{name} {value}" for name, value in where.items()), flush=True)
    print(f"start {started}\nnodes {nodes}", flush=True)
    cpu = load_model(ServiceSettings(device="cpu"))
    differences = {
        tf32: compare(tf32, one, cpu, images, arguments.batches)
        for tf32, one in (("TF32 off", model), ("TF32 on", with_tf32(arguments.device)))
    }
    calls = {
        OURS: serve(model),
        "service, the GPU alone": alone(model),
        "service on the CPU": serve(cpu),
        "CUDA graphs": with_graphs(arguments.device),
        **in_torch(torch_device, arguments.compile),
    }
    paces = measure(calls, images, arguments.batches, arguments.seconds)
    print_table(paces)
    asked = Asked(arguments.batches, arguments.connections, arguments.seconds)
    loads = ask_service(arguments.bentoml, arguments.device, asked)
    results = ROOT / "runs" / "gpu.json" if arguments.out is None else arguments.out
    results.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "on": where,
        "start": started,
        "nodes": nodes,
        "differences": {name: list(map(asdict, rows)) for name, rows in differences.items()},
        "in_process": {name: rows_of(rows) for name, rows in paces.items()},
        "over_the_network": {
            protocol: {size: rows_of(row) for size, row in rows.items()}
            for protocol, rows in loads.items()
        },
    }
    results.write_text(json.dumps(found, indent=2) + "\n")
    draw(paces, where["device"], results.with_suffix(".png"))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=counts, default=BATCHES)
    parser.add_argument("--connections", type=counts, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    parser.add_argument("--images", type=int, default=10_000, help="to compare logits on")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bentoml", type=Path, default=BENTOML, help="the program that serves")
    parser.add_argument("--out", type=Path, help="in the place of runs/gpu.json")
    return parser.parse_args()


def describe(device: torch.device) -> dict[str, str]:
    """Return the device, its driver, and the versions."""
    found = {"device": f"{platform.machine()} CPU", "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["device"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        found["driver"] = _driver()
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())
    return {**found, "onnxruntime": ort.__version__, "python": platform.python_version()}


def _driver() -> str:
    """Read NVIDIA's driver's version where Linux has it."""
    path = Path("/proc/driver/nvidia/version")
    return path.read_text().partition("\n")[0].strip() if path.exists() else "unknown"


def with_tf32(device: Device) -> OnnxModel:
    """Open the model as the service does, but with TF32 on: to see why it has it off."""
    options = {**CUDA_OPTIONS, "use_tf32": "1"}
    providers = [(CUDA, options), CPU] if device == "cuda" else [CPU]
    return OnnxModel(ort.InferenceSession(RELEASED_MODEL, providers=providers))


def compare(
    title: str, model: OnnxModel, reference: OnnxModel, images: Images, batches: Sequence[int]
) -> list[Difference]:
    """Compare logits for every batch size: cuDNN may choose another algorithm for each."""
    parts = np.array_split(images, -(-len(images) // 1000))  # (about 1000, 1, 28, 28) each
    expected = np.concatenate([reference.infer(part, [LOGITS])[0] for part in parts])  # (N, K)
    rows = []
    for batch in batches:
        found = np.concatenate(
            [
                model.infer(images[start : start + batch], [LOGITS])[0]
                for start in range(0, len(images), batch)
            ]
        )  # (N, K)
        largest = float(np.abs(found - expected).max())
        classes = int((found.argmax(1) != expected.argmax(1)).sum())
        rows.append(Difference(batch, largest, classes))
        print(
            f"batch {batch:5}  {title:24} largest logit difference {largest:.2e}, "
            f"{classes} classes differ",
            flush=True,
        )
    return rows


def serve(model: OnnxModel) -> Callable[[Images], object]:
    """Return what the service does with images."""
    return lambda images: model.infer(images, [PROBABILITIES])


def alone(model: OnnxModel) -> Callable[[Images], object]:
    """Return what the service does on the GPU, without the CPU beside it."""
    gpu = model.gpu
    assert gpu is not None  # noqa: S101
    return lambda images: gpu.infer(images, [PROBABILITIES])


def with_graphs(device: Device) -> Callable[[Images], object]:
    """Return a run with CUDA graphs: a session for each size, whose buffers stay where they are."""
    prepared: dict[int, Callable[[Images], object]] = {}

    def call(images: Images) -> object:
        size = len(images)
        if size not in prepared:
            prepared[size] = _graph(device, images)
        return prepared[size](images)

    return call


def _graph(device: Device, images: Images) -> Callable[[Images], object]:
    options = {**CUDA_OPTIONS, "enable_cuda_graph": "1"}
    providers = [(CUDA, options)] if device == "cuda" else [CPU]
    session = ort.InferenceSession(
        CONTENT, session_options(), providers=providers, enable_fallback=0
    )
    classes = session.get_outputs()[1].shape[1]
    given = ort.OrtValue.ortvalue_from_numpy(images, device)
    shape = [len(images), classes]
    found = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, device)
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, given)
    binding.bind_ortvalue_output(PROBABILITIES, found)

    def call(images: Images) -> object:
        given.update_inplace(images)
        session.run_with_iobinding(binding)
        return found.numpy()

    return call


def in_torch(device: torch.device, compiles: bool) -> dict[str, Callable[[Images], object]]:
    """Return LeNet-BN in torch: as trained, with folded batch norms, and compiled."""
    unfolded = load_checkpoint(CHECKPOINT).model
    networks = {
        "unfolded": unfolded,
        "folded": fold(unfolded, torch.zeros(2, 1, 28, 28)).to(torch.float32),
    }
    calls = {
        f"torch, {name}": _in_torch(network.to(device), device)
        for name, network in networks.items()
    }
    if compiles:
        compiled = torch.compile(networks["unfolded"], dynamic=False)
        calls["torch, compiled"] = _in_torch(compiled, device)
    return calls


def _in_torch(network: nn.Module, device: torch.device) -> Callable[[Images], object]:
    @torch.inference_mode()
    def call(images: Images) -> NDArray[np.float32]:
        logits = network(to_float(torch.from_numpy(images).to(device)))  # (N, K)
        probabilities: NDArray[np.float32] = logits.softmax(1).cpu().numpy()  # (N, K)
        return probabilities

    return call


def measure(
    calls: Mapping[str, Callable[[Images], object]],
    images: Images,
    batches: Sequence[int],
    seconds: float,
) -> dict[str, dict[str, Pace]]:
    """Measure each call for each size of batch, and ours after a batch of another size too."""
    ours = calls[OURS]
    rows: dict[str, dict[str, Pace]] = {name: {} for name in (*calls, CHANGING)}
    for size in batches:
        batch = np.resize(images, (size, 1, 28, 28))  # (size, 1, 28, 28)
        other = np.resize(images, (2 if size == 1 else size // 2, 1, 28, 28))
        for name, call in calls.items():
            rows[name][str(size)] = pace(partial(call, batch), size, seconds)
        # ONNX Runtime's convolution keeps cuDNN's plan for the last shape alone.
        changing = (partial(ours, batch), size, seconds, partial(ours, other))
        rows[CHANGING][str(size)] = pace(*changing)
        for name, row in rows.items():
            found = row[str(size)]
            print(
                f"batch {size:5}  {name:24} {found.images_per_second:12,.0f} images/s  "
                f"p50 {found.p50_us:9,.0f} us  p99 {found.p99_us:9,.0f} us",
                flush=True,
            )
    return rows


def print_table(rows: Mapping[str, Mapping[str, Pace]]) -> None:
    """Print images a second as a table for a page."""
    sizes = list(next(iter(rows.values())))
    print("| images/s, batch of |", " | ".join(sizes), "|")
    print("|---|" + "---:|" * len(sizes))
    for name, row in rows.items():
        print(f"| {name} |", " | ".join(f"{p.images_per_second:,.0f}" for p in row.values()), "|")


def used(device: torch.device) -> dict[str, int]:
    """Return how much of the GPU's memory is in use, by all processes."""
    if device.type == "cpu":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {"memory_mib": (total - free) >> 20}


def rows_of(row: Mapping[str, Pace] | Mapping[str, Load]) -> dict[str, dict[str, float]]:
    """Convert figures to JSON's types."""
    return {name: asdict(found) for name, found in row.items()}


if __name__ == "__main__":
    main()
