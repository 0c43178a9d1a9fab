"""The adversarial images, and what is measured on them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.onnx_file.outputs import Outputs, folded_outputs, reference_outputs
from export.proof.adversarial import FEW_IMAGES, adversarial_images, attack
from export.proof.deviation import margins
from export.proof.refolding import refold
from tests.export.mutants import emitted, fold_unchecked, replace, swapped_classes
from tests.export.networks import folded_layers
from tests.export.rounding import error_bound
from training.batch_norm import BatchNorm
from training.networks.lenet import lenet_bn


def test_each_kind_is_what_its_name_says() -> None:
    kinds = adversarial_images()
    for images in kinds.values():
        assert (images.shape[1:], images.dtype) == ((1, 28, 28), torch.uint8)
    assert kinds["all 0"].unique().tolist() == [0]
    assert kinds["all 255"].unique().tolist() == [255]
    assert len(kinds["noise"].unique()) == 256
    hot = kinds["one hot pixel"]  # (784, 1, 28, 28)
    assert (hot == 255).flatten(1).sum(dim=1).tolist() == [1] * 784
    assert (hot != 0).sum(dim=0).unique().tolist() == [1]  # every pixel once
    boards = kinds["checkerboard"].int()  # (N, 1, 28, 28)
    assert boards[0, 0, :2, :3].tolist() == [[0, 255, 0], [255, 0, 255]]
    assert (boards[::2] + boards[1::2]).unique().tolist() == [255]
    for board, square in zip(boards[::2, 0], (1, 2, 4, 7, 14), strict=True):
        assert board[0].tolist() == [255 * (column // square % 2) for column in range(28)]
        assert torch.equal(board, board.T)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (1, 5, 3), (3, 224, 224)])
def test_images_of_every_shape(shape: tuple[int, int, int]) -> None:
    kinds = adversarial_images(shape)
    for images in kinds.values():
        assert images.dtype == torch.uint8
        assert tuple(images.shape[1:]) == shape
    hot = kinds["one hot pixel"]
    assert torch.equal(hot.flatten(1).long().sum(dim=1), torch.full((len(hot),), 255))
    small = shape[0] * shape[1] * shape[2] <= 28 * 28
    assert len(hot) == (shape[0] * shape[1] * shape[2] if small else FEW_IMAGES)
    boards = kinds["checkerboard"].long()
    assert len(boards) == 10
    for light, dark in boards.split(2):
        assert torch.equal(light + dark, torch.full_like(light, 255))
    assert [int(kinds[f"all {value}"].unique()) for value in (0, 255)] == [0, 255]


def test_the_same_images_every_time() -> None:
    for one, other in zip(
        adversarial_images().values(), adversarial_images().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_right_model_is_right_on_all_of_them(network: nn.Sequential) -> None:
    found = attack(network, emitted(network).SerializeToString())
    assert {kind: result.images for kind, result in found.items()} == {
        "all 0": 1,
        "all 255": 1,
        "noise": 256,
        "one hot pixel": 784,
        "checkerboard": 10,
    }
    for result in found.values():
        assert result.classes_equal == result.images
        assert result.undecided == 0
        assert max(result.folded_error.values()) < result.eval_mode_error < 1e-4
        assert result.smallest_margin > 2 * max(result.folded_error.values())


def test_each_kinds_figures_are_its_own(network: nn.Sequential) -> None:
    found = attack(network, emitted(network).SerializeToString())
    for kind, images in adversarial_images().items():
        alone = margins(reference_outputs(network, images))
        assert found[kind].smallest_margin == pytest.approx(float(alone.min()), rel=1e-9)


def test_a_class_is_equal_if_it_is_in_both_runs(
    network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = emitted(network).SerializeToString()
    wrong = swapped_classes(network, monkeypatch).SerializeToString()

    def one_wrong(_: bytes, images: Tensor) -> dict[str, Outputs]:
        broken = folded_outputs(wrong, images)["disabled"]
        return {**folded_outputs(right, images), "disabled": broken}

    monkeypatch.setattr("export.proof.adversarial.folded_outputs", one_wrong)
    found = attack(network, right)["noise"]
    assert found.classes_equal < found.images
    assert found.folded_error["default"] < 1e-4 < found.folded_error["disabled"]


def test_a_wrong_weight_shows_under_a_bright_pixel_and_not_on_black(network: nn.Sequential) -> None:
    def change(weight: np.ndarray) -> None:
        weight[2, 0, 0, 0] *= 1.1

    found = attack(network, replace(emitted(network), "0.weight", change).SerializeToString())
    assert found["all 0"].folded_error["default"] < 1e-5
    assert found["one hot pixel"].folded_error["default"] > 1e-4


def test_an_image_that_rounding_may_decide_is_counted(network: nn.Sequential) -> None:
    """Two classes with the same weights differ by nothing but rounding, on every image."""
    with torch.no_grad():
        network[15].weight[:] = network[15].weight[:1]
        network[15].bias[:] = torch.linspace(0, 1e-9, 10)
    for result in attack(network, emitted(network).SerializeToString()).values():
        assert result.undecided == result.images


def test_a_model_of_nan_decides_nothing(network: nn.Sequential) -> None:
    def change(weight: np.ndarray) -> None:
        weight.flat[0] = np.nan

    found = attack(network, replace(emitted(network), "9.weight", change).SerializeToString())
    for result in found.values():
        assert result.undecided == result.images


def extreme_network(seed: int) -> nn.Sequential:
    """Random weights, and statistics that span 18 orders of magnitude within one layer."""
    generator = torch.Generator().manual_seed(seed)

    def spread(like: Tensor, lowest: float, highest: float, *, signed: bool) -> Tensor:
        unit = torch.rand(like.shape, generator=generator, dtype=torch.float64)
        sign = 1 - 2 * torch.randint(2, like.shape, generator=generator) * signed
        return sign * 10 ** (lowest + (highest - lowest) * unit)

    model = lenet_bn().eval()
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, BatchNorm):
                layer.moving_var.copy_(spread(layer.moving_var, -12, 6, signed=False))
                layer.moving_mean.copy_(spread(layer.moving_mean, -6, 2, signed=True))
                layer.gamma.copy_(spread(layer.gamma, -6, 3, signed=True))
                layer.beta.copy_(spread(layer.beta, -6, 3, signed=True))
                continue
            for parameter in layer.parameters():
                scale = parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def largest_share_of_the_bound(network: nn.Sequential, model: bytes, images: Tensor) -> float:
    """The folded model's error as a share of the sum of its possible rounding errors, by logit."""
    reference = reference_outputs(network, images).logits  # (N, K)
    bound = error_bound(folded_layers(network), images.double()).detach().numpy()  # (N, K)
    bound += 2.0**-24 * np.abs(reference)  # the logits' own rounding
    errors = [np.abs(o.logits - reference) for o in folded_outputs(model, images).values()]
    return float((np.max(errors, axis=0) / bound).max())


@pytest.mark.parametrize("seed", range(5))
def test_extreme_statistics_fold_within_rounding(
    seed: int, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gains of a billion turn sigmoids into steps: eval mode's own error is no useful limit there.

    The bound of tests/export/rounding.py counts in what each layer makes of an error.
    """
    kinds = adversarial_images()
    chosen = torch.cat([images[:20], *(kind[:20] for kind in kinds.values())])
    network = extreme_network(seed)
    right = refold(network).SerializeToString()
    assert largest_share_of_the_bound(network, right, chosen) < 0.5
    fold_unchecked(monkeypatch, 0.0)
    wrong = refold(network).SerializeToString()
    assert largest_share_of_the_bound(network, wrong, chosen) > 2
