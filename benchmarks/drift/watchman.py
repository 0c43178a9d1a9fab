"""Measure what the watchman detects, how soon, and its cost: the tables of docs/watchman.md.

    python -m benchmarks.drift.watchman [--plot watchman.png]

Nothing is chosen here: the limits are the released model's, from the training set. The test set
(10,000 images, in tests/data) is clean; what is not is made of it, or of scikit-learn's digits.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift.unlike_images import CHANGES, Images, digits, kinds
from benchmarks.stopwatch import pace
from service.drift.report import explain_outliers
from service.drift.statistics import InputStatistics
from service.drift.window import DriftWindow
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.signature import PROBABILITIES
from service.settings import ServiceSettings
from training.data.fashion_mnist import load_split

DATA = Path(__file__).parents[2] / "tests" / "data"

STREAMS = 50  # for each change
CLEAN_STREAMS = 100  # each all test images, in an order of its own
CLEAN = 512  # images before the change
CHANGED = 1000  # and after it
SNEAKER = 7

COST_SECONDS = 1.0

Array = NDArray[np.float64]


class Drift(NamedTuple):
    """The drift as a stream changes."""

    courses: Array  # (STREAMS, CLEAN + CHANGED), after each image

    @property
    def alarms(self) -> Array:
        """How many changed images came until the alarm, (STREAMS,); infinity for never."""
        above = self.courses[:, CLEAN:] > 1
        return np.where(above.any(1), above.argmax(1) + 1, np.inf)


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description="What the watchman finds, and what it costs.")
    parser.add_argument("--plot", type=Path, help="PNG file for the picture")
    plot = parser.parse_args().plot
    model = load_model(ServiceSettings(device="cpu"))
    statistics = model.input_statistics
    if statistics is None:
        raise SystemExit("the model has no input statistics: export it again")
    split = load_split("test", DATA)
    test, labels = split.images[:, 0].numpy(), split.labels.numpy()
    shifts = print_detection(statistics, test)
    drifts = print_drift(statistics, test, test[labels == SNEAKER])
    print_cost(model, statistics, test)
    if plot is not None:
        from benchmarks.drift.watchman_chart import draw

        draw(shifts, {name: drift.courses for name, drift in drifts.items()}, CLEAN, plot)


def print_detection(statistics: InputStatistics, test: Images) -> dict[str, Array]:
    """Print how many images of each kind are unusual; return all shifts."""
    print("| images | number | median shift | unusual | most frequent hint |")
    print("|---|---:|---:|---:|---|")
    found = {}
    for name, images in kinds(test).items():
        images = np.ascontiguousarray(images)
        shifts = found[name] = statistics.mahalanobis_distances(images[:, None]).astype(np.float64)
        looks = Counter(explain_outliers(statistics, images[shifts > 1][:1000]))
        said, count = looks.most_common(1)[0] if looks else ("", 0)
        share = f" ({count / looks.total():.0%})" if looks else ""
        print(
            f"| {name} | {len(images):,} | {np.median(shifts):.2f} | "
            f"{(shifts > 1).mean():.1%} | {said}{share} |",
            flush=True,
        )
    return found


def print_drift(statistics: InputStatistics, test: Images, sneakers: Images) -> dict[str, Drift]:
    """Print how soon each change raises the alarm, and how often none does.

    Args:
        statistics: of the training set.
        test: the test set's images.
        sneakers: those of one class.
    """
    print("\n| change of the stream | images until the alarm: median | most | no alarm |")
    print("|---|---:|---:|---:|")
    clean = statistics.whitened(test[:, None])  # (N, 3C)
    streams = {name: change(test) for name, change in CHANGES.items()}
    streams |= {"digits, 20 x 20 in the middle": digits(20), "sneakers only": sneakers}
    found = {}
    for name, images in streams.items():
        changed = statistics.whitened(images[:, None])  # (N, 3C)
        drift = found[name] = measure_drift(statistics, clean, changed)
        alarms = drift.alarms
        print(
            f"| {name} | {np.median(alarms):.0f} | {alarms.max():.0f} | "
            f"{np.isinf(alarms).sum()} of {STREAMS} |",
            flush=True,
        )
    print_clean_streams(statistics, clean)
    return found


def measure_drift(
    statistics: InputStatistics, clean: NDArray[np.float32], changed: NDArray[np.float32]
) -> Drift:
    """Follow streams of clean images, then changed ones, each drawn in an order of its own."""
    random = np.random.default_rng(0)
    courses = []
    for _ in range(STREAMS):
        before = clean[random.permutation(len(clean))[:CLEAN]]
        after = changed[random.choice(len(changed), CHANGED, replace=len(changed) < CHANGED)]
        courses.append(course(statistics, np.concatenate([before, after])))
    return Drift(np.stack(courses))


def course(statistics: InputStatistics, whitened: NDArray[np.float32]) -> Array:
    """Return the drift (N,) after each image of a stream (N, 3C)."""
    window = DriftWindow(statistics)
    found = []
    for row in whitened:
        window.add(row[None])
        found.append(window.drift)
    return np.array(found)


def print_clean_streams(statistics: InputStatistics, clean: NDArray[np.float32]) -> None:
    """Print how many orders of the test images raise an alarm anywhere."""
    random = np.random.default_rng(1)
    highest = np.array(
        [course(statistics, random.permutation(clean)).max() for _ in range(CLEAN_STREAMS)]
    )
    print(
        f"\nAll {len(clean):,} test images in {CLEAN_STREAMS} orders: {(highest > 1).sum()} raised "
        f"an alarm; the highest drift was {highest.max():.2f}, on average {highest.mean():.2f}."
    )


def print_cost(model: OnnxModel, statistics: InputStatistics, test: Images) -> None:
    """Print the time of the scores and of the network, in this process."""
    print("\n| images at a time | the watchman, us an image | the network, us an image |")
    print("|---:|---:|---:|")
    for count in (1, 4, 16, 64, 1024):
        batch = test[:count, None]
        ours = pace(lambda b=batch: statistics.mahalanobis_distances(b), count, COST_SECONDS)
        network = pace(lambda b=batch: model.infer(b, [PROBABILITIES]), count, COST_SECONDS)
        print(f"| {count:,} | {ours.p50_us / count:.1f} | {network.p50_us / count:.1f} |")


if __name__ == "__main__":
    main()
