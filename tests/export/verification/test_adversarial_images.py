"""Adversarial images of every shape."""

import pytest
import torch

from export.proof.adversarial import FEW_IMAGES, adversarial_images


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
