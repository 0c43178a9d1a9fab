"""LeNet-BN with random parameters and statistics that fit real images, and its files.

No training set is needed: statistics are fitted layer by layer on test images.
"""

import copy
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from export.folding.fold import fold
from export.folding.normalization import Normalization
from export.folding.tracing import is_batch_norm
from training.batch_norm import EPS, BatchNorm
from training.data.dataset import STEMS
from training.data.fashion_mnist import LABELS
from training.data.idx import format_idx
from training.files.checkpoint import save_checkpoint
from training.networks.lenet import lenet_bn

TEST_SET = Path(__file__).parents[1] / "data"

# By how many deviations the statistics lag behind the activations, beta making up for it.
# (z - mean) and beta then cancel: eval mode in float32 loses five bits that folding in float64
# keeps, and the proof holds by a margin that no machine's order of summation can eat up.
LAG = 32.0


def random_network(images: Tensor, seed: int, num_classes: int = 10) -> nn.Sequential:
    """LeNet-BN in eval mode: random weights, gamma, beta; statistics off those of images.

    Args:
        images: (N, 1, 28, 28) uint8, what the activations are made sane on.
        seed: of all that is random.
        num_classes: the last layer's width.
    """
    generator = torch.Generator().manual_seed(seed)
    model = lenet_bn(num_classes).double()
    X = images.double() / 255  # (N, 1, 28, 28), then each layer's output in turn
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, BatchNorm):
                _fit(layer, X, generator)
            for parameter in layer.parameters() if not isinstance(layer, BatchNorm) else ():
                parameter.copy_(_uniform(parameter.shape, generator, -1, 1) * _spread(parameter))
            X = layer.eval()(X)
    return model.float().eval()


def _spread(parameter: Tensor) -> float:
    """Glorot-like, so that no layer's sums grow; biases are of order one half."""
    return (3 / parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.5


def _fit(norm: BatchNorm, X: Tensor, generator: torch.Generator) -> None:
    axes = [axis for axis in range(X.dim()) if axis != 1]
    var, mean = torch.var_mean(X, axes, correction=0, keepdim=True)  # (1, C) or (1, C, 1, 1)
    shape = norm.gamma.shape
    sign = torch.where(torch.rand(shape, generator=generator) < 0.5, -1.0, 1.0).double()
    lag = LAG * sign * _uniform(shape, generator, 0.5, 1.5)
    norm.gamma.copy_(_uniform(shape, generator, 1, 3) * -sign)
    norm.moving_var.copy_(var * _uniform(shape, generator, 0.5, 2))
    norm.moving_mean.copy_(mean + lag * norm.moving_var.sqrt())
    makes_up = norm.gamma * lag * (norm.moving_var / (norm.moving_var + EPS)).sqrt()
    norm.beta.copy_(_uniform(shape, generator, -1, 1) + makes_up)


def _uniform(
    shape: torch.Size, generator: torch.Generator, lowest: float, highest: float
) -> Tensor:
    unit = torch.rand(shape, generator=generator, dtype=torch.float64)
    return lowest + (highest - lowest) * unit


class Plain(nn.Module):
    """A module whose forward is the given function of it and its input."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._forward = forward
        self.eval()

    def forward(self, X: Tensor) -> Tensor:
        return self._forward(self, X)


def folded_layers(network: nn.Sequential) -> nn.Sequential:
    """LeNet-BN folded, for an image's bytes, as a sequence of layers in float64."""
    return layers_of(fold(network, torch.zeros(2, 1, 28, 28), Normalization()), network)


def layers_of(folded: fx.GraphModule, network: nn.Sequential) -> nn.Sequential:
    """A flat network's layers less its batch norms, in float64, with the folded weights."""
    weights = dict(folded.named_parameters())
    layers = []
    for name, layer in network._modules.items():
        if not is_batch_norm(layer):
            layers.append(copy.deepcopy(layer).double())
            for key in ("weight", "bias"):
                if (weight := weights.get(f"{name}.{key}")) is not None:
                    layers[-1].register_parameter(key, nn.Parameter(weight.detach().clone()))
    return nn.Sequential(*layers).eval()


def state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all tensors, to compare a network with its former state."""
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_untouched(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    after = model.state_dict()
    assert list(after) == list(before)
    for key, value in before.items():
        assert after[key].dtype == value.dtype, key
        assert after[key].stride() == value.stride(), key
        assert torch.equal(after[key], value), key


def metadata(**changes: str) -> dict[str, str]:
    """What training writes into a checkpoint, less the digests of a data set."""
    known = {
        "recipe": "random",
        "seed": "7",
        "epochs": "0",
        "labels": json.dumps(LABELS),
        "versions": json.dumps({"python": "3.11.2"}),
        "test_accuracy": "0.1",
    }
    return known | changes


def write_checkpoint(path: Path, model: nn.Module, **changes: str) -> Path:
    save_checkpoint(path, model, metadata(**changes))
    return path


def write_data_set(folder: Path, images: Tensor, labels: Tensor) -> Path:
    """Write (N, 1, 28, 28) images and (N,) labels as a data set's files, both halves the same."""
    folder.mkdir(exist_ok=True)
    packed = gzip.compress(format_idx(images.squeeze(1)), compresslevel=1)
    for images_stem, labels_stem in STEMS.values():
        (folder / f"{images_stem}.gz").write_bytes(packed)
        (folder / labels_stem).write_bytes(format_idx(labels.to(torch.uint8)))
    return folder
