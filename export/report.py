"""The figures of a proof, for a person to read."""

from export.equivalence import Deviation, Equivalence


def describe(equivalence: Equivalence) -> str:
    """Lay the figures out as a table; errors are of logits, against float64 eval mode."""
    rows = {"eval mode, float32": equivalence.eval_mode} | {
        f"folded, optimisation {name}": deviation for name, deviation in equivalence.folded.items()
    }
    return "\n".join(
        [
            f"{'logits against float64 eval mode':34} {'max error':>10} {'mean':>10} classes equal",
            *(_row(title, deviation, equivalence.images) for title, deviation in rows.items()),
            f"folded against eval mode: logits {equivalence.max_difference:.3g}, "
            f"probabilities {equivalence.max_probability_difference:.3g}, classes equal "
            f"{equivalence.classes_equal:,} of {equivalence.images:,}",
            f"smallest margin of a predicted class: {equivalence.smallest_margin:.3g}",
        ]
    )


def _row(title: str, deviation: Deviation, images: int) -> str:
    return (
        f"{title:34} {deviation.max_error:10.3g} {deviation.mean_error:10.3g} "
        f"{deviation.classes_equal:,} of {images:,}"
    )
