"""Every network has a name, takes a number of classes, and ends as the others do."""

from typing import get_args

import pytest
import torch

from training.networks.registry import NETWORKS, last_weight
from training.recipes import NetworkName


def test_the_table_has_the_networks_of_the_command_line() -> None:
    assert tuple(NETWORKS) == get_args(NetworkName)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_has_a_row_for_each_class(name: str) -> None:
    model = NETWORKS[name](3)
    assert len(model.state_dict()[last_weight(model)]) == 3
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 3)
