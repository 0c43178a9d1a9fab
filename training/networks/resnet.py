"""A residual network with batch normalization, for small grey images.

He et al., "Deep Residual Learning for Image Recognition", 2015, https://arxiv.org/abs/1512.03385;
Zhang et al., "Dive into Deep Learning", https://d2l.ai, section 8.6.
"""

from torch import Tensor, nn
from torch.nn import functional

from training.batch_norm import BatchNorm

STEM_CHANNELS = 16
# (channels, stride) of each block. None is at 24 x 24, where a convolution of as many channels
# takes four times as long as at 12 x 12.
BLOCKS = ((40, 2), (40, 1), (80, 2), (80, 1))


class Residual(nn.Module):
    """Two convolutions whose output is added to their input (the paper's figure 2).

        Y = relu(bn2(conv2(relu(bn1(conv1(X))))) + shortcut(X))

    The shortcut is the identity, or the 1 x 1 convolution conv3 where the shape changes.
    """

    def __init__(self, input_channels: int, channels: int, stride: int) -> None:
        """Halve height and width with stride 2."""
        super().__init__()
        # A bias before a batch norm is subtracted with the mean.
        self.conv1 = nn.Conv2d(
            input_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.bn1 = BatchNorm(channels, num_dims=4)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = BatchNorm(channels, num_dims=4)
        self.conv3 = (
            None
            if stride == 1 and input_channels == channels
            else nn.Conv2d(input_channels, channels, kernel_size=1, stride=stride)
        )

    def forward(self, X: Tensor) -> Tensor:
        """Return Y (N, channels, H / stride, W / stride) for X (N, input_channels, H, W)."""
        Y = functional.relu(self.bn1(self.conv1(X)))  # (N, channels, H / stride, W / stride)
        shortcut = X if self.conv3 is None else self.conv3(X)
        return functional.relu(self.bn2(self.conv2(Y)) + shortcut)


def resnet_bn(num_classes: int = 10) -> nn.Sequential:
    """Return the network: images (N, 1, 28, 28) float32 in [0, 1] to logits (N, num_classes).

    It begins as LeNet-BN does, with a 5 x 5 convolution without padding, so that the service
    compares its input with the training set's in the same way (docs/watchman.md). For 10 classes it
    has 256,722 parameters.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(1, STEM_CHANNELS, kernel_size=5, bias=False),  # (N, 16, 24, 24)
        BatchNorm(STEM_CHANNELS, num_dims=4),
        nn.ReLU(),
    ]
    channels = STEM_CHANNELS
    for wider, stride in BLOCKS:  # (N, 40, 12, 12) twice, (N, 80, 6, 6) twice
        layers.append(Residual(channels, wider, stride))
        channels = wider
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),  # (N, 80, 1, 1)
        nn.Flatten(),  # (N, 80)
        nn.Linear(channels, num_classes),  # (N, num_classes)
    )
