"""Each augmentation changes images as it says, each image by its own draw, repeatably."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from training.data.augmentation import augment as augment_views
from training.data.augmentation import draw_views, mirrored_in_turns, take_views
from training.data.dataset import Split
from training.recipes import Augmentation

ALL = Augmentation(flip=0.5, shift=2, rotation=10, scale=0.1, cutout=8)
ROWS = torch.arange(28, dtype=torch.uint8)[:, None].expand(28, 28)
GRADIENT = (ROWS + 3 * ROWS.T).reshape(1, 1, 28, 28) + 1  # every pixel is told from its neighbours


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def augment(images: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """Random views, changed at random."""
    return augment_views(images, draw_views(len(images), how, generator), how, generator)


def repeated(count: int) -> Tensor:
    return GRADIENT.repeat(count, 1, 1, 1)


def test_nothing_is_changed_by_default() -> None:
    assert torch.equal(augment(GRADIENT, Augmentation(), seeded()), GRADIENT)


@pytest.mark.parametrize(
    "how",
    [
        Augmentation(flip=0.5),
        Augmentation(shift=1),
        Augmentation(rotation=10),
        Augmentation(scale=0.2),
        Augmentation(cutout=6),
        ALL,
    ],
)
def test_same_draws_same_images_and_the_source_stays(how: Augmentation, real: Split) -> None:
    images = real.images[:64]
    before = images.clone()
    first, again = (augment(images, how, seeded(5)) for _ in range(2))
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, how, seeded(6)))
    assert torch.equal(images, before)


def test_flips_are_exact_and_happen_as_often_as_asked() -> None:
    found = augment(repeated(2000), Augmentation(flip=0.25), seeded())
    flipped = (found == GRADIENT.flip(3)).flatten(1).all(1)
    assert ((found == GRADIENT).flatten(1).all(1) | flipped).all()
    # Binomial: 500 +- 19; five deviations.
    assert abs(int(flipped.sum()) - 500) < 97


def test_shifts_are_whole_pixels_on_black_each_equally_often() -> None:
    found = augment(repeated(1800), Augmentation(shift=1), seeded())
    framed = torch.nn.functional.pad(GRADIENT, (1, 1, 1, 1))
    counts = []
    for dy in range(3):
        for dx in range(3):
            window = framed[:, :, dy : dy + 28, dx : dx + 28]
            counts.append(int((found == window).flatten(1).all(1).sum()))
    assert sum(counts) == 1800
    # Binomial: 200 +- 13.3; five deviations.
    assert all(abs(count - 200) < 67 for count in counts)


@pytest.mark.parametrize("flip", [0.0, 0.5, "alternating"])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_every_view_is_a_mirror_image_or_not_and_a_window_of_the_padded_image(
    flip: float | Literal["alternating"], shift: int
) -> None:
    how = Augmentation(flip=flip, shift=shift)
    expected = []
    for image in (GRADIENT, GRADIENT.flip(3)) if flip else (GRADIENT,):
        framed = torch.zeros(1, 1, 28 + 2 * shift, 28 + 2 * shift, dtype=torch.uint8)
        framed[:, :, shift : shift + 28, shift : shift + 28] = image
        for y in range(2 * shift + 1):
            expected += [framed[:, :, y : y + 28, x : x + 28] for x in range(2 * shift + 1)]
    found = take_views(repeated(how.num_views), torch.arange(how.num_views), how)
    assert torch.equal(found, torch.cat(expected))
    assert len({view.numpy().tobytes() for view in found}) == how.num_views


@given(count=st.integers(0, 100), epoch=st.integers(0, 1000), seed=st.integers(0, 2**31))
def test_in_turns_each_image_is_mirrored_in_exactly_every_other_epoch(
    count: int, epoch: int, seed: int
) -> None:
    now, following, later = (
        mirrored_in_turns(count, epoch + more, seeded(seed)) for more in range(3)
    )
    assert now.shape == (count,)
    assert (now != following).all()
    assert torch.equal(now, later)
    views = draw_views(count, Augmentation(flip="alternating", shift=1), seeded(), now)
    assert torch.equal(views >= 9, now)


def test_in_turns_half_of_the_images_are_mirrored_first_and_every_seed_chooses_its_own() -> None:
    first, other = (mirrored_in_turns(2000, 0, seeded(seed)) for seed in (0, 1))
    # Binomial: 1000 +- 22; five deviations, also for how often two seeds agree.
    assert abs(int(first.sum()) - 1000) < 112
    assert abs(int((first == other).sum()) - 1000) < 112


def test_no_rotation_leaves_pixels_where_they_are() -> None:
    found = augment(GRADIENT, Augmentation(rotation=1e-9), seeded())
    torch.testing.assert_close(found, GRADIENT.float(), rtol=0, atol=1e-3)


def test_a_rotation_turns_about_the_centre() -> None:
    images = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 12:16, 22:26] = 255
    found = augment(images, Augmentation(rotation=30), seeded())
    mass = found.sum((1, 2, 3))
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    centre_y = (found[:, 0] * y).sum((1, 2)) / mass - 13.5
    centre_x = (found[:, 0] * x).sum((1, 2)) / mass - 13.5
    radius = torch.hypot(centre_y, centre_x)
    angle = torch.rad2deg(torch.atan2(centre_y, centre_x))
    torch.testing.assert_close(radius, torch.full((200,), 10.0), rtol=0, atol=0.25)
    assert angle.min() < -20
    assert angle.max() > 20
    assert angle.abs().max() < 31


def test_rotation_and_scale_turn_and_stretch_without_shear() -> None:
    """Ramps show which point of the source each pixel has: (u, v) = scale * turn * (x, y)."""
    ramp = (4 * ROWS).repeat(500, 1, 1, 1)
    both = Augmentation(rotation=20, scale=0.2)
    u = augment(ramp.mT, both, seeded())[:, 0] / 4  # (500, 28, 28)
    v = augment(ramp, both, seeded())[:, 0] / 4
    middle = slice(12, 16)

    def slopes(values: Tensor) -> tuple[Tensor, Tensor]:
        """How much values grow from pixel to pixel along x and along y, (500,) each."""
        centre = values[:, middle, middle]
        return centre.diff(dim=2).mean((1, 2)), centre.diff(dim=1).mean((1, 2))

    (ux, uy), (vx, vy) = slopes(u), slopes(v)
    torch.testing.assert_close(torch.atan2(-uy, ux), torch.atan2(vx, vy), rtol=0, atol=1e-3)
    for size in (torch.hypot(ux, uy), torch.hypot(vx, vy)):
        assert 0.799 < size.min() < 0.81
        assert 1.19 < size.max() < 1.201


def test_the_centre_of_a_cut_may_be_any_pixel() -> None:
    found = augment(repeated(2000), Augmentation(cutout=6, cutout_probability=1.0), seeded())
    for black in ((found == 0).any(3), (found == 0).any(2)):  # (2000, 1, 28): rows, then columns
        length = black.sum((1, 2))
        assert length[black[:, 0, 0]].min() == 3  # centred on the first row: 3 of 6 are outside
        assert length[black[:, 0, 27]].min() == 4


def test_cutout_paints_one_black_square_in_its_share_of_images() -> None:
    found = augment(repeated(1000), Augmentation(cutout=6, cutout_probability=0.5), seeded())
    black = found == 0
    cut = black.flatten(1).any(1)
    assert abs(int(cut.sum()) - 500) < 80
    height, width = black.any(3).sum((1, 2)), black.any(2).sum((1, 2))
    assert torch.equal(black.sum((1, 2, 3)), height * width)
    assert height.max() == width.max() == 6
    assert torch.equal(found[~cut], repeated(int((~cut).sum())))
