"""Conditioning of a batch norm's channels: which scales are extreme, and which channels are dead.

A batch norm gives each channel the standard deviation |gamma| around beta, with
the factor s = gamma / sqrt(var + eps). Folding is equally exact for any s; these
figures describe the network, which matters most for computing in fewer bits.
"""

from dataclasses import dataclass

from torch import Tensor

# gamma starts at 1. Below a ten-thousandth of that, the channel is practically the constant beta
# for the layers that read it.
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
        """Return the figures on one line; dead and extreme channels only if there are any."""
        parts = [f"scale {self.smallest:.3g} to {self.largest:.3g}"]
        for name in ("extreme", "dead"):
            if channels := getattr(self, name):
                parts.append(f"{name} channels {', '.join(map(str, channels))}")
        return "; ".join(parts)


def conditioning(gamma: Tensor, scale: Tensor) -> Conditioning:
    """Return the conditioning of a batch norm's channels.

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
