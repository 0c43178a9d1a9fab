"""Compare a folded network with the original, both in float64, on a few inputs."""

import torch
from torch import Tensor, fx, nn

from export.errors import FoldError
from export.folding.normalization import Normalization

SEED = 0
BATCHES = (3, 1)
BYTES = 256

# Right folds of 21 networks were off by at most 1.2e-13 of the largest output; the weakest
# mistake that was tried, one weight times 1.001, by 3e-6.
LIMIT = 1e-9


def check_same(
    original: nn.Module,
    folded: fx.GraphModule,
    example: Tensor,
    normalization: Normalization | None,
) -> None:
    """Check that a folded network gives the original's outputs, to `LIMIT` of the largest one.

    Args:
        original: the network in float64 and eval mode.
        folded: the folded network in float64.
        example: (N, ...) float64, an input of the original.
        normalization: what the folded network does first; None if it takes the same inputs.

    Raises:
        FoldError: it does not.
    """
    for given in _inputs(example, normalization is not None):
        wanted = given
        if normalization is not None:
            mean, scale = normalization.factors(given.shape[1])
            ones = (1,) * (given.dim() - 2)
            wanted = (given - mean.reshape(-1, *ones)) * scale.reshape(-1, *ones)
        right, found = original(wanted), folded(given)
        if right.shape != found.shape:
            raise FoldError(
                f"the traced network gives {tuple(found.shape)} for {len(given)} images, but the "
                f"network itself {tuple(right.shape)}: its forward depends on more than its input"
            )
        error, largest = float((found - right).abs().max()), float(right.abs().max())
        if not error <= LIMIT * largest:
            raise FoldError(
                f"the folded network is not the network: its outputs are off by {error:.3g} where "
                f"they go up to {largest:.3g} in float64, expected at most {LIMIT:g} of that; its "
                "forward may be random in eval mode, or depend on more than its input"
            )


def _inputs(example: Tensor, bytes_: bool) -> list[Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    shapes = [(batch, *example.shape[1:]) for batch in BATCHES]
    if bytes_:
        return [torch.randint(BYTES, shape, generator=generator).double() for shape in shapes]
    random = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [*random, example]
