"""Compute and draw accuracy and precision of each class."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import Tensor


@dataclass(frozen=True)
class ClassResult:
    """Recall and precision of one class."""

    label: str
    images: int
    recall: float  # share of this class's images that are predicted as it; called accuracy
    precision: float  # share of the images predicted as this class that belong to it


def class_results(counts: Tensor, labels: tuple[str, ...]) -> list[ClassResult]:
    """Return the results from a confusion matrix (K, K): rows true, columns predicted."""
    results = []
    for k, label in enumerate(labels):
        right, images, named = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        results.append(ClassResult(label, images, right / max(images, 1), right / max(named, 1)))
    return results


def as_table(results: list[ClassResult]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| class | images | accuracy | precision |", "|---|---:|---:|---:|"]
    lines += [f"| {r.label} | {r.images} | {r.recall:.3f} | {r.precision:.3f} |" for r in results]
    return "\n".join(lines)


def per_class_figure(results: list[ClassResult]) -> Figure:
    """Return a figure with each class's accuracy as a bar, the best on top."""
    ordered = sorted(results, key=lambda result: result.recall)
    figure = Figure(figsize=(8, 1.2 + 0.36 * len(ordered)), layout="constrained")
    axis = figure.add_subplot()
    names, values = [r.label for r in ordered], [r.recall for r in ordered]
    bars = axis.barh(names, values, color="tab:blue")
    axis.bar_label(bars, labels=[f"{value:.3f}" for value in values], padding=4)
    axis.set_xlim(0, 1.08)
    axis.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axis.set_xlabel("accuracy")
    axis.spines[["top", "right"]].set_visible(False)
    return figure
