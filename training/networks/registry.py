"""The networks, by the names that checkpoints and `--network` give them."""

from collections.abc import Callable, Mapping

from torch import nn

from training.networks.lenet import lenet_bn
from training.networks.resnet import resnet_bn

# Each factory takes the number of classes K; the network's last layer is a Linear with K outputs.
NETWORKS: Mapping[str, Callable[[int], nn.Sequential]] = {
    "lenet_bn": lenet_bn,
    "resnet_bn": resnet_bn,
}


def last_weight(model: nn.Sequential) -> str:
    """Return the name of the last layer's weight in the state dict."""
    return f"{len(model) - 1}.weight"
