"""Split validation images off the training set, so that no choice depends on the test set."""

import torch
from torch import Tensor

from training.data.dataset import Split
from training.errors import DatasetError

SHARE = 12  # one image in twelve: 5,000 of Fashion-MNIST's 60,000
SHUFFLE_SEED = 12345  # not the run's seed: all seeds and recipes are compared on the same images


def hold_out(split: Split) -> tuple[Split, Split]:
    """Divide a split in two, with the same proportion of each class.

    Returns:
        The images left for training, and the images held out. Both in the original order.

    Raises:
        DatasetError: there are too few images to hold one out.
    """
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    held = torch.zeros(len(split), dtype=torch.bool)
    for class_id in range(int(split.labels.max()) + 1):
        members = (split.labels == class_id).nonzero().flatten()  # (members,)
        order = torch.randperm(len(members), generator=generator)  # (members,)
        held[members[order[: len(members) // SHARE]]] = True
    if not held.any():
        raise DatasetError(
            f"no class has the {SHARE} images needed to hold one out: leave out --validation"
        )
    return _select(split, ~held), _select(split, held)


def _select(split: Split, chosen: Tensor) -> Split:
    return Split(split.images[chosen], split.labels[chosen], split.digests)
