"""ResNet-20 (He et al., 2016, section 4.2) with statistics of its own, as a file that is served."""

import base64
import json
from pathlib import Path

import numpy as np
import torch
from onnx import helper
from torch import Tensor, nn

from export.folding.fold import fold
from export.folding.normalization import Normalization
from export.onnx_file.emission import emit
from tests.export.verification.networks import Block

SHAPE, CLASSES = (3, 32, 32), 10
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
WIDTHS = ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1))
GOLDEN = 10


def resnet20() -> nn.Sequential:
    """Nine residual blocks, in eval mode; random weights, and statistics that belong to them."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    inputs = 16
    for outputs, stride in WIDTHS:
        layers.append(Block(inputs, outputs, stride))
        inputs = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)]
    network = nn.Sequential(*layers).train()
    with torch.no_grad():
        for _ in range(20):  # enough for the moving statistics, of momentum 0.1
            network(normalized(pictures(64)))
    return network.eval()


def pictures(count: int) -> Tensor:
    """Images (count, 3, 32, 32) uint8: noise of several brightnesses."""
    noise = torch.randint(0, 256, (count, *SHAPE))  # (count, 3, 32, 32)
    return (noise * torch.rand(count, 1, 1, 1)).to(torch.uint8)


def normalized(images: Tensor) -> Tensor:
    """Return what the network takes, float32, for images (N, 3, 32, 32)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))  # (3, 1, 1)
    return (images / 255 - mean) / std


def write(network: nn.Sequential, path: Path) -> Path:
    """Fold, emit and write it, with golden samples of its own float64."""
    images = pictures(GOLDEN)
    folded = fold(network, normalized(images), Normalization(MEAN, STD))
    with torch.no_grad():
        logits = folded(images.double()).numpy()  # (G, K)
    golden = {
        "images": base64.b64encode(images.numpy().tobytes()).decode(),
        "logits": logits.tolist(),
        "tolerance": 2e-5 * float(np.abs(logits).max()),
    }
    model = emit(folded).model
    labels = [f"class {index}" for index in range(CLASSES)]
    metadata = {"name": "resnet20", "version": "1.0.0", "labels": json.dumps(labels)}
    helper.set_model_props(model, {**metadata, "golden_samples": json.dumps(golden)})
    path.write_bytes(model.SerializeToString())
    return path
