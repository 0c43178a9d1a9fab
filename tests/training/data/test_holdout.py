"""The validation split is stratified, disjoint, and the same for every run."""

import torch

from training.data.dataset import Split
from training.data.holdout import hold_out


def test_a_twelfth_of_each_class_is_held_out(real: Split) -> None:
    train, held = hold_out(real)
    assert torch.bincount(held.labels).tolist() == [1000 // 12] * 10
    assert len(train) + len(held) == len(real)


def test_every_image_is_on_exactly_one_side_with_its_label(real: Split) -> None:
    numbered = Split(torch.arange(len(real)).reshape(-1, 1), real.labels, real.digests)
    train, held = hold_out(numbered)
    both = torch.cat([train.images, held.images]).flatten()
    assert torch.equal(both.sort().values, torch.arange(len(real)))
    for side in (train, held):
        assert torch.equal(side.labels, real.labels[side.images.flatten()])


def test_the_split_depends_on_nothing_but_the_labels(real: Split) -> None:
    torch.manual_seed(1)
    first = hold_out(real)[1]
    torch.manual_seed(2)
    assert torch.equal(hold_out(real)[1].images, first.images)
