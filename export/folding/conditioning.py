"""How well a batch norm's channels are conditioned: which scales are extreme, and which are dead.

A batch norm gives each channel the deviation |gamma| around beta, and does so by
the factor s = gamma / sqrt(var + eps). Folding is as exact for any s; these
figures say what a network is like, above all one that is to be computed in
fewer bits.
"""

from dataclasses import dataclass

from torch import Tensor

# A channel born with gamma = 1 deviates by less than a ten-thousandth of that: it is a constant,
# beta, to all that reads it.
DEAD = 1e-4

# |s| beyond these makes an input's rounding, or a statistic's, a hundred times larger, or means
# that the layer's outputs deviate by hundreds. With eps 1e-5 and gamma 1, s cannot exceed 316.
EXTREME = 100.0


@dataclass(frozen=True)
class Conditioning:
    """The scales of one batch norm of C channels."""

    smallest: float  # |s| of the channels that are not dead; 0 if all are
    largest: float
    extreme: tuple[int, ...]  # channels with |s| above EXTREME or, alive, below 1 / EXTREME
    dead: tuple[int, ...]  # channels with |gamma| below DEAD

    def __str__(self) -> str:
        """Say it on one line, dead and extreme channels only if there are any."""
        parts = [f"scale {self.smallest:.3g} to {self.largest:.3g}"]
        for name in ("extreme", "dead"):
            if channels := getattr(self, name):
                parts.append(f"{name} channels {', '.join(map(str, channels))}")
        return "; ".join(parts)


def conditioning(gamma: Tensor, scale: Tensor) -> Conditioning:
    """Sort the channels of a batch norm.

    Args:
        gamma: (C,) float64.
        scale: (C,) float64, gamma / sqrt(var + eps).
    """
    dead = gamma.abs() < DEAD  # (C,)
    magnitude = scale.abs()  # (C,)
    extreme = (magnitude > EXTREME) | ((magnitude < 1 / EXTREME) & ~dead)  # (C,)
    alive = magnitude[~dead].tolist() or [0.0]
    return Conditioning(
        smallest=min(alive),
        largest=max(alive),
        extreme=tuple(extreme.nonzero().flatten().tolist()),
        dead=tuple(dead.nonzero().flatten().tolist()),
    )
