"""The figures of a proof, for a person to read."""

from collections.abc import Mapping

from export.equivalence import Deviation, Equivalence


def describe(equivalence: Equivalence) -> str:
    """Lay the figures out as a table; errors are of logits, against float64 eval mode."""
    lines = [
        f"{'logits against float64 eval mode':34} {'max error':>10} {'mean':>10} classes equal"
    ]
    lines += _rows("eval mode, float32", equivalence.eval_mode, equivalence.images)
    lines += _rows("folded, optimisation", equivalence.folded, equivalence.images)
    lines.append(
        f"folded against eval mode, both float32: logits {equivalence.max_difference:.3g}, "
        f"probabilities {equivalence.max_probability_difference:.3g}, classes equal "
        f"{equivalence.classes_equal:,} of {equivalence.images:,}"
    )
    lines.append(f"smallest margin of a predicted class: {equivalence.smallest_margin:.3g}")
    return "\n".join(lines)


def _rows(title: str, deviations: Mapping[str, Deviation], images: int) -> list[str]:
    return [
        f"{f'{title} {name}':34} {deviation.max_error:10.3g} {deviation.mean_error:10.3g} "
        f"{deviation.classes_equal:,} of {images:,}"
        for name, deviation in deviations.items()
    ]
