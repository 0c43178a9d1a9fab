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
    """Return a figure of each class's accuracy and precision, the best accuracy on top."""
    ordered = sorted(results, key=lambda result: result.recall)
    figure = Figure(figsize=(8, 1.6 + 0.55 * len(ordered)), layout="constrained")
    axis = figure.add_subplot()
    for label, colour, above, values in (
        (
            "accuracy, of the class's images",
            "tab:blue",
            0.2,
            [r.recall for r in ordered],
        ),
        (
            "precision, of the predictions of the class",
            "0.7",
            -0.2,
            [r.precision for r in ordered],
        ),
    ):
        places = [place + above for place in range(len(ordered))]
        bars = axis.barh(places, values, 0.38, color=colour, label=label)
        axis.bar_label(bars, fmt="{:.3f}", padding=4, fontsize=8)
    axis.set_yticks(range(len(ordered)), [r.label for r in ordered])
    axis.set_xlim(0, 1.08)
    axis.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
