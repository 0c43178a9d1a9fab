"""The residual network computes what its paper's figure says, from its own layers."""

import torch
from torch.nn import functional

from training.batch_norm import BatchNorm
from training.networks.resnet import Residual, resnet_bn

MOST_PARAMETERS = 300_000


def test_it_has_its_parameters_and_a_row_of_logits_per_image() -> None:
    model = resnet_bn()
    assert sum(p.numel() for p in model.parameters()) == 256_722 < MOST_PARAMETERS
    assert sum(isinstance(layer, BatchNorm) for layer in model.modules()) == 9
    assert resnet_bn(47)(torch.rand(3, 1, 28, 28)).shape == (3, 47)


def test_a_block_adds_its_input() -> None:
    block = Residual(3, 3, stride=1).double().eval()
    X = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        block.bn2.gamma.zero_()  # what is added is beta alone
        block.bn2.beta.fill_(0.25)
        torch.testing.assert_close(block(X), functional.relu(X + 0.25))


def test_a_block_that_changes_the_shape_adds_a_convolution_of_its_input() -> None:
    block = Residual(3, 5, stride=2).double().eval()
    X = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        block.bn2.gamma.zero_()
        assert block.conv3 is not None
        shortcut = functional.conv2d(X[:, :, ::2, ::2], block.conv3.weight, block.conv3.bias)
        torch.testing.assert_close(block(X), functional.relu(shortcut))
