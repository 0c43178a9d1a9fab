"""How exact folding and emission are, network by network, with random weights.

    python -m benchmarks.exported_networks [NAME ...]

A name is one of `NETWORKS`, or MODULE:FACTORY of what is installed, such as timm.models:resnet10t.
Each network gets statistics that belong to its random weights, by a few batches in train mode, and
random gamma and beta. Printed, relative to the largest logit in float64: the folded graph's error
in float64, ONNX Runtime's error, and eval mode's own error in float32; batch norms folded and left
as affine maps; nodes, opset, seconds.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
import torchvision
from torch import Tensor, nn

from export.folding.fold import fold_with_report
from export.folding.normalization import Normalization
from export.folding.tracing import float64_copy
from export.network.loading import build
from export.onnx_file.emission import emit
from export.onnx_file.outputs import OPTIMISATIONS
from export.onnx_file.session import open_session

CLASSES = 10
SEED = 0
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class D2lResidual(nn.Module):
    """A block of d2l.ai, section 8.6: a shortcut's convolution has a bias and no batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make two convolutions, and one for the shortcut where the shape changes."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        changes = (inputs, stride) != (outputs, 1)
        self.conv3 = nn.Conv2d(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, X: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        Y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(X)))))
        Y += self.conv3(X)
        return torch.relu(Y)


def d2l_resnet18() -> nn.Module:
    """Zhang et al., "Dive into Deep Learning", section 8.6."""
    stem = (nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    blocks, width = [], 64
    for out in (64, 128, 256, 512):
        blocks += [D2lResidual(width, out, 1 if out == 64 else 2), D2lResidual(out, out, 1)]
        width = out
    return nn.Sequential(
        *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)
    )


class PreActivation(nn.Module):
    """He et al., "Identity Mappings in Deep Residual Networks", 2016, figure 4 (e)."""

    def __init__(self, channels: int = 8) -> None:
        """Make two blocks between a convolution and a linear layer."""
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(5))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(4)
        )
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, X: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, 10)."""
        Y = self.stem(X)
        for i in (0, 2):
            Z = self.convs[i](torch.relu(self.norms[i](Y)))
            Y = Y + self.convs[i + 1](torch.relu(self.norms[i + 1](Z)))
        return self.head(torch.relu(self.norms[4](Y)).mean((2, 3)))


def mlp() -> nn.Module:
    """Two hidden layers with batch norms."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * 32 * 32, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.BatchNorm1d(32),
        nn.Linear(32, CLASSES),
    )


def resnet20() -> nn.Module:
    """He et al., "Deep Residual Learning", 2016, section 4.2, with projections."""
    block = torchvision.models.resnet.BasicBlock
    stages: list[nn.Module] = []
    width = 16
    for stage in range(3):
        for index in range(3):
            out, stride = 16 * 2**stage, 2 if stage and not index else 1
            down = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            stages.append(block(width, out, stride, down if stride > 1 else None))
            width = out
    stem = (nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))
    return nn.Sequential(*stem, *stages, *head)


def _torchvision(name: str, **more: object) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **more)


# Each network and the side of its images.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mlp": (mlp, 32),
    "preactivation": (PreActivation, 32),
    "resnet20": (resnet20, 32),
    "d2l_resnet18": (d2l_resnet18, 64),
    "resnet18": (_torchvision("resnet18"), 64),
    "resnet50": (_torchvision("resnet50"), 64),
    "squeezenet1_1": (_torchvision("squeezenet1_1"), 64),
    "vgg11_bn": (_torchvision("vgg11_bn"), 48),
    "mobilenet_v2": (_torchvision("mobilenet_v2"), 64),
    "mobilenet_v3_small": (_torchvision("mobilenet_v3_small"), 64),
    "mobilenet_v3_large": (_torchvision("mobilenet_v3_large"), 64),
    "shufflenet_v2_x0_5": (_torchvision("shufflenet_v2_x0_5"), 64),
    "mnasnet0_5": (_torchvision("mnasnet0_5"), 64),
    "regnet_y_400mf": (_torchvision("regnet_y_400mf"), 64),
    "efficientnet_b0": (_torchvision("efficientnet_b0"), 64),
    "densenet121": (_torchvision("densenet121"), 64),
    "googlenet": (
        _torchvision("googlenet", aux_logits=False, transform_input=True, init_weights=False),
        64,
    ),
    "inception_v3": (_torchvision("inception_v3", aux_logits=False, init_weights=False), 96),
    "convnext_tiny": (_torchvision("convnext_tiny"), 64),
}


def network(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network in eval mode with statistics of its own, and images (8, 3, S, S) uint8."""
    if ":" in name:
        make, side = (lambda: build(name, {"num_classes": CLASSES})), 64
    else:
        make, side = NETWORKS[name]
    torch.manual_seed(SEED)
    model = make()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
        images = torch.randint(256, (8, 3, side, side), dtype=torch.uint8)
        X = normalised(images)  # (8, 3, S, S)
        model.train()
        for batch in (X, X.flip(0), X.roll(1, 3)):
            model(batch.float())
    return model.eval(), images


def normalised(images: Tensor) -> Tensor:
    """Return images (N, 3, S, S) uint8 as a network's input, float64."""
    mean, scale = NORMALIZATION.factors(3)
    return (images - mean.reshape(3, 1, 1)) * scale.reshape(3, 1, 1)  # (N, 3, S, S)


def measure(name: str) -> str:
    """Return a network's row of the table."""
    model, images = network(name)
    images = images[:4]
    start = time.perf_counter()
    X = normalised(images)  # (4, 3, S, S)
    folding = fold_with_report(model, X, NORMALIZATION)
    emitted = emit(folding.network)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        right = float64_copy(model)(X).numpy()
        largest = np.abs(right).max()
        found = {
            "float64": folding.network(images.double()).numpy(),
            "eval mode": model(X.float()).double().numpy(),
        }
    content = emitted.model.SerializeToString()
    for level, optimisation in OPTIMISATIONS.items():
        run: ort.InferenceSession = open_session(content, optimisation)
        found[level] = run.run(["logits"], {"image": images.numpy()})[0]
    errors = {key: np.abs(value - right).max() / largest for key, value in found.items()}
    cells = [f"{errors[key]:.1e}" for key in ("float64", "default", "disabled", "eval mode")]
    counts = [len(folding.steps), len(folding.left_over), len(emitted.model.graph.node)]
    opset = emitted.model.opset_import[0].version
    return f"| {name} | {' | '.join([*cells, *map(str, counts), str(opset), f'{seconds:.1f}'])} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(NETWORKS), metavar="NAME")
    print(
        "| network | float64 | ORT | ORT, plain | eval mode | folded | left | nodes | opset | s |"
    )
    print("|---" * 10 + "|")
    for name in parser.parse_args().names:
        print(measure(name), flush=True)


if __name__ == "__main__":
    main()
