"""Channels whose scale is extreme, and channels that are dead, are named."""

import torch
from torch import nn

from export.folding.conditioning import DEAD, EXTREME, conditioning
from export.folding.fold import fold_with_report


def test_extreme_and_dead_channels_are_told_apart() -> None:
    gamma = torch.tensor([1.0, -2.0, 0.0, DEAD / 2, 1.0, 1.0], dtype=torch.float64)
    scale = torch.tensor(
        [1.0, -2 * EXTREME, 0.0, DEAD / 2, 0.5 / EXTREME, EXTREME], dtype=torch.float64
    )
    found = conditioning(gamma, scale)
    assert (found.smallest, found.largest) == (0.5 / EXTREME, 2 * EXTREME)
    assert (found.extreme, found.dead) == ((1, 4), (2, 3))
    assert str(found) == "scale 0.005 to 200; extreme channels 1, 4; dead channels 2, 3"


def test_a_batch_norm_may_be_dead_all_over() -> None:
    zero = torch.zeros(2, dtype=torch.float64)
    assert str(conditioning(zero, zero)) == "scale 0 to 0; dead channels 0, 1"


def test_a_report_says_what_went_where_and_how_it_is_conditioned() -> None:
    network = nn.Sequential(
        nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2), nn.BatchNorm1d(2, eps=1.0), nn.Sigmoid()
    ).eval()
    with torch.no_grad():
        network[0].running_var.copy_(torch.tensor([1.0, 0.0, 1e6]))
        network[2].running_var.fill_(3.0)
        network[2].weight.copy_(torch.tensor([1.0, 1e-9]))
    first, second = fold_with_report(network, torch.zeros(2, 3)).steps
    assert (first.norm, first.layer, first.side) == ("0", "1", "before")
    assert (second.norm, second.layer, second.side) == ("2", "1", "after")
    assert (first.conditioning.extreme, first.conditioning.dead) == ((1, 2), ())
    assert str(second) == "2, after 1, is folded into it: scale 0.5 to 0.5; dead channels 1"


def test_a_network_without_batch_norms_says_so() -> None:
    report = fold_with_report(nn.Sequential(nn.Linear(3, 2)).eval(), torch.zeros(2, 3))
    assert report.steps == ()
    assert str(report) == "there is no batch norm to fold"
