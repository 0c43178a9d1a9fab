"""A training step mixes no devices: tested with torch's fake tensors, which need no GPU.

The backward pass and the optimisers ask for a real one: `make test-gpu` runs those.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from training.data.augmentation import augment, draw_views
from training.data.dataset import Split
from training.learner import Learner
from training.networks.registry import NETWORKS
from training.recipes import RECIPES, Augmentation

CUDA = torch.device("cuda")
ALL = Augmentation(
    flip=0.5, shift=1, rotation=5.0, scale=0.1, cutout=4, cutout_probability=0.5
)  # every change there is


class OnCuda(Generator):
    """A generator that claims to be on a GPU; a real one needs a driver."""

    device = CUDA


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> Iterator[Split]:
    def to(module: nn.Module, device: torch.device | None = None, **_: object) -> nn.Module:
        for layer in module.modules():
            for name, parameter in layer._parameters.items():
                if parameter is not None and device is not None:
                    layer._parameters[name] = nn.Parameter(parameter.detach().to(device))
            for name, buffer in layer._buffers.items():
                if buffer is not None and device is not None:
                    layer._buffers[name] = buffer.to(device)
        return module

    monkeypatch.setattr(nn.Module, "to", to)  # torch's own cannot move fake parameters
    with FakeTensorMode():
        images = torch.zeros(512, 1, 28, 28, dtype=torch.uint8, device=CUDA)
        yield Split(images, torch.zeros(512, dtype=torch.int64, device=CUDA), {})


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_augmentation_network_and_loss_are_on_one_device(name: str, split: Split) -> None:
    recipe = replace(RECIPES[name], augmentation=ALL, average_decay=None)
    teachers = [NETWORKS["lenet_bn"](10).to(CUDA)] if recipe.temperature else []
    learner = Learner(recipe, split, 10, 0, epochs=2, teachers=teachers)
    chosen = torch.randperm(512, device=CUDA)[: recipe.batch_size]
    views = draw_views(len(chosen), ALL, OnCuda())
    images: Tensor = augment(split.images[chosen], views, ALL, OnCuda())
    log_p = learner.soft_targets and learner.soft_targets.at(views, chosen)
    loss, hits = learner._batch_loss(images, split.labels[chosen], log_p)
    assert loss.dtype == torch.float32
    assert {loss.device.type, hits.device.type} == {"cuda"}


def test_a_mixture_would_be_found(split: Split) -> None:
    learner = Learner(RECIPES["seed"], split, 10, 0, epochs=2)
    with pytest.raises(Exception, match="found at least two devices, cuda:0 and cpu"):
        learner._batch_loss(split.images, split.labels.cpu())
