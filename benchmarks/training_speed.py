"""How many images per second this project trains on, and the notebook's own loop.

    python -m benchmarks.training_speed [--rounds 5] [--threads 2] [--device auto]

Both train recipe `seed` (LeNet-BN, batch 256, SGD at rate 1.0) on Fashion-MNIST,
on the same device, by turns, each in a process of its own, of whose two epochs
the better one counts. The notebook's loop is the d2l chapter's: torchvision's
FashionMNIST with ToTensor in a DataLoader of four workers, the chapter's own
batch_norm, metrics read after every batch. Steady state is what counts: an
epoch's first steps, in which workers start and code is compiled, are left out
on both sides. Run it on a machine that does nothing else.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from benchmarks.notebook import notebook_network
from training.data.choice import load_data
from training.data.dataset import STEMS, Split, find_file
from training.data.fashion_mnist import find_directory
from training.data.idx import read_content
from training.execution.devices import choose_device, set_up, synchronize
from training.learner import Learner
from training.recipes import SEED

STEPS_TO_WARM_UP = 20


def main() -> None:
    """Measure by turns and print each round, then the medians and their ratio as JSON."""
    arguments = parse_arguments()
    if arguments.side is not None:
        print(measure(arguments))
        return
    speeds: dict[str, list[float]] = {"notebook": [], "ours": []}
    for number in range(1, arguments.rounds + 1):
        for side, values in speeds.items():
            values.append(in_a_process_of_its_own(side))
        now, then = speeds["ours"][-1], speeds["notebook"][-1]
        print(
            f"round {number}: notebook {then:,.0f} images/s, ours {now:,.0f}, "
            f"ratio {now / then:.2f}",
            flush=True,
        )
    medians = {side: round(statistics.median(values)) for side, values in speeds.items()}
    ratio = round(medians["ours"] / medians["notebook"], 2)
    print(json.dumps({**medians, "ratio": ratio, "rounds": arguments.rounds}))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Training speed against the notebook's loop.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--side", choices=("notebook", "ours"), help="measure this one alone")
    return parser.parse_args()


def in_a_process_of_its_own(side: str) -> float:
    """Measure one side in a process of its own, without the other's settings."""
    command = [sys.executable, "-m", "benchmarks.training_speed", *sys.argv[1:], "--side", side]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return float(result.stdout)


def measure(arguments: argparse.Namespace) -> float:
    """Return the better of two epochs' images per second: the first also compiles and warms up."""
    set_up(arguments.threads)
    device = choose_device(arguments.device)
    epochs = our_epochs(device) if arguments.side == "ours" else notebook_epochs(device)
    return max(next(epochs) for _ in range(2))


def our_epochs(device: torch.device) -> Iterator[float]:
    """Train as `python -m training --recipe seed --compile on` does; yield images per second."""
    data = load_data(None, None, validation=False).train
    split = Split(data.images.to(device), data.labels.to(device), data.digests)
    learner = Learner(SEED, split, 10, seed=0, epochs=1000, compile_step=True)
    while True:
        yield learner.train_epoch().images_per_second


def notebook_epochs(device: torch.device) -> Iterator[float]:
    """Train as the notebook does; yield images per second."""
    torch.manual_seed(0)
    net = notebook_network().to(device)
    trainer = torch.optim.SGD(net.parameters(), lr=1.0)
    loss_function = nn.CrossEntropyLoss()
    with tempfile.TemporaryDirectory() as folder:
        data_set = torchvision_data_set(Path(folder))
        while True:
            yield notebook_epoch(net, trainer, loss_function, data_set, device)


def notebook_epoch(
    net: nn.Module,
    trainer: torch.optim.Optimizer,
    loss_function: nn.Module,
    data_set: FashionMNIST,
    device: torch.device,
) -> float:
    """Run the body of d2l's train_ch6 for one epoch; return images per second."""
    warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes")
    batches = DataLoader(data_set, batch_size=256, shuffle=True, num_workers=4)
    net.train()
    total_loss, correct, images, start = 0.0, 0.0, 0, time.perf_counter()
    for step, (X_host, y_host) in enumerate(batches):
        if step == STEPS_TO_WARM_UP:
            synchronize(device)
            images, start = 0, time.perf_counter()
        trainer.zero_grad()
        X, y = X_host.to(device), y_host.to(device)
        y_hat = net(X)
        loss = loss_function(y_hat, y)
        loss.backward()
        trainer.step()
        with torch.no_grad():
            total_loss += float(loss * X.shape[0])
            correct += float((y_hat.argmax(1) == y).sum())
        images += X.shape[0]
    synchronize(device)
    return images / (time.perf_counter() - start)


def torchvision_data_set(folder: Path) -> FashionMNIST:
    """Put the data set where torchvision looks for it, uncompressed, and open it there."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for half, stems in STEMS.items():
        for stem in stems:
            (raw / stem).write_bytes(read_content(find_file(find_directory(half), stem)))
    return FashionMNIST(str(folder), train=True, transform=ToTensor())


if __name__ == "__main__":
    main()
