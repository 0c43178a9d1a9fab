"""Images' bytes as a network's input."""

import pytest
import torch

from export.errors import NetworkError
from export.network.input_format import InputFormat


def test_bytes_are_normalised_channel_by_channel() -> None:
    found = InputFormat.of((3, 1, 2), (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    images = torch.tensor([0, 255], dtype=torch.uint8).expand(4, 3, 1, 2)
    right = torch.tensor([[-1.0, 1.0], [-0.25, 0.75], [0.0, 0.5]], dtype=torch.float64)
    assert torch.equal(
        found.normalise(images, torch.float64), right.reshape(1, 3, 1, 2).expand(4, 3, 1, 2)
    )
    assert found.normalise(images, torch.float32).dtype == torch.float32


def test_one_number_is_for_every_channel_and_the_default_is_a_255th() -> None:
    assert InputFormat.of((3, 4, 4), 0.1, [0.2]).std == (0.2, 0.2, 0.2)
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    plain = InputFormat.of((1, 16, 16)).normalise(images, torch.float32)
    assert torch.equal(plain, images.float() / 255)
    assert str(InputFormat.of((3, 64, 48))) == "3x64x48"


@pytest.mark.parametrize(
    ("shape", "mean", "std", "text"),
    [
        ((2, 8, 8), 0.0, 1.0, "images of 2x8x8: expected CxHxW with 1 or 3 channels"),
        ((8, 8), 0.0, 1.0, "images of 8x8: expected CxHxW"),
        ((3, 0, 8), 0.0, 1.0, "images of 3x0x8: expected CxHxW"),
        ((3, 8, 8), (0.1, 0.2), 1.0, "mean 0.1,0.2 has 2 numbers: expected one, or one for each"),
        ((3, 8, 8), 0.0, (1.0, 0.0, 1.0), "std 1,0,1: expected numbers above 0"),
        ((3, 8, 8), float("nan"), 1.0, "mean nan: expected finite numbers"),
    ],
)
def test_what_is_no_format(shape: tuple[int, ...], mean: float, std: float, text: str) -> None:
    with pytest.raises(NetworkError) as caught:
        InputFormat.of(shape, mean, std)
    assert str(caught.value).startswith(text)
