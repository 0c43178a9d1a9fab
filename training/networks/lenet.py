"""LeNet with batch normalization, from d2l's chapter on batch normalization.

LeCun et al., "Gradient-based learning applied to document recognition", 1998;
Zhang et al., "Dive into Deep Learning", https://d2l.ai, section 8.5.
"""

from torch import nn

from training.batch_norm import BatchNorm


def lenet_bn(num_classes: int = 10) -> nn.Sequential:
    """Return the network: images (N, 1, 28, 28) float32 in [0, 1] to logits (N, num_classes).

    The positions in the `Sequential` name the tensors of a checkpoint
    ("0.weight", "1.gamma", ...), so they must not change. For 10 classes LeNet
    has 44,426 parameters, also after folding the batch norms; before, gamma and
    beta add 452, and there are 452 moving statistics.
    """
    return nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5),  # (N, 6, 24, 24)
        BatchNorm(6, num_dims=4),
        nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),  # (N, 6, 12, 12)
        nn.Conv2d(6, 16, kernel_size=5),  # (N, 16, 8, 8)
        BatchNorm(16, num_dims=4),
        nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),  # (N, 16, 4, 4)
        nn.Flatten(),  # (N, 256)
        nn.Linear(256, 120),  # (N, 120)
        BatchNorm(120, num_dims=2),
        nn.Sigmoid(),
        nn.Linear(120, 84),  # (N, 84)
        BatchNorm(84, num_dims=2),
        nn.Sigmoid(),
        nn.Linear(84, num_classes),  # (N, num_classes)
    )
