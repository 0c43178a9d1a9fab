"""Images for a proof: from pictures, IDX files and `.npz`, a batch at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export.errors import ImagesError
from export.network.data import ImageTensor, evenly, read_images
from training.data.idx import format_idx
from training.errors import IdxError

SHAPE = (3, 4, 6)


def pixels(count: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_pictures(folder: Path, images: np.ndarray, names: tuple[str, ...]) -> None:
    """Deal (N, 3, H, W) images out to the classes in turn."""
    for number, image in enumerate(images):
        place = folder / names[number % len(names)] / "deeper"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{number:03}.png")


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    images = pixels(7)
    write_pictures(tmp_path, images, ("cat", "dog"))
    found = read_images(tmp_path, SHAPE, 100)
    assert found.names == ("cat", "dog")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    batches = list(found.batches(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert np.array_equal(torch.cat(batches).numpy(), images[[0, 2, 4, 6, 1, 3, 5]])
    assert np.array_equal(found.take([5, 0]).numpy(), images[[3, 0]])


def test_pictures_become_what_the_network_takes(tmp_path: Path) -> None:
    write_pictures(tmp_path, pixels(2, (3, 50, 40)), ("a", "b"))
    (batch,) = read_images(tmp_path, (1, 8, 5), 10).batches(10)
    assert batch.shape == (2, 1, 8, 5)


def test_few_of_many_come_from_every_class(tmp_path: Path) -> None:
    write_pictures(tmp_path, pixels(30), ("a", "b", "c"))
    found = read_images(tmp_path, SHAPE, 6)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_read_in_batches(save: object, tmp_path: Path) -> None:
    images, labels = pixels(11), np.arange(11, dtype=np.int32)
    save(tmp_path / "d.npz", images=images, labels=labels)  # type: ignore[operator]
    every = read_images(tmp_path / "d.npz", SHAPE, 100)
    assert np.array_equal(torch.cat(list(every.batches(4))).numpy(), images)
    some = read_images(tmp_path / "d.npz", SHAPE, 4)
    assert len(some) == 4
    assert some.labels is not None
    assert some.labels.tolist() == [0, 2, 5, 8]
    for size in (1, 3, 4):
        assert np.array_equal(torch.cat(list(some.batches(size))).numpy(), images[[0, 2, 5, 8]])


def test_idx_files(tmp_path: Path) -> None:
    images = torch.from_numpy(pixels(5, (4, 6)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(format_idx(images))
    found = read_images(tmp_path, (1, 4, 6), 100)
    assert found.labels is None
    assert torch.equal(torch.cat(list(found.batches(2))), images[:, None])
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(format_idx(images[:2]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(format_idx(torch.tensor([1, 0]).byte()))
    test = read_images(tmp_path, (1, 4, 6), 100)
    assert test.labels is not None
    assert (len(test), test.labels.tolist()) == (2, [1, 0])


@given(st.integers(1, 500), st.integers(1, 500))
def test_images_are_chosen_evenly(count: int, limit: int) -> None:
    chosen = evenly(count, limit)
    assert len(chosen) == min(count, limit)
    assert len(set(chosen)) == len(chosen)
    assert 0 <= min(chosen) <= max(chosen) < count
    steps = np.diff([*chosen, chosen[0] + count])
    assert steps.max() - steps.min() <= 1


def refusal(path: Path, shape: tuple[int, int, int] = SHAPE) -> str:
    with pytest.raises((ImagesError, IdxError)) as caught:
        list(read_images(path, shape, 100).batches(10))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_is_no_data(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (
        f"{tmp_path / 'none'} does not exist: name a folder or a .npz with --data"
    )
    assert refusal(tmp_path).startswith(f"{tmp_path} has no sub-folders: expected one folder of")
    (tmp_path / "cat").mkdir()
    assert refusal(tmp_path).startswith(f"{tmp_path / 'cat'} has no pictures: expected some")
    (tmp_path / "cat" / "a.png").write_bytes(b"no picture")
    assert refusal(tmp_path).startswith(f"cannot read the picture {tmp_path / 'cat' / 'a.png'}: ")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"no idx")
    assert "is not an IDX file" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": pixels(2)}, "has the arrays x: expected `images`, uint8 (N, C, H, W)"),
        ({"images": pixels(2) / 255}, "are float64 (2, 3, 4, 6): expected uint8 (N, C, H, W)"),
        ({"images": pixels(2)[0]}, "are uint8 (3, 4, 6): expected uint8 (N, C, H, W)"),
        ({"images": pixels(2)[:0]}, "are uint8 (0, 3, 4, 6): expected uint8 (N, C, H, W)"),
        ({"images": pixels(2, (1, 4, 6))}, "are 1x4x6: expected 3x4x6, as --image says"),
        ({"images": pixels(2), "labels": np.arange(3)}, "labels have shape (3,), expected (2,)"),
        ({"images": pixels(2), "labels": np.ones(2)}, "are float64 (2,): expected integers (2,)"),
        ({"images": np.array([None])}, "are object (1,): expected uint8 (N, C, H, W)"),
    ],
)
def test_an_npz_that_does_not_fit(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    assert message in refusal(tmp_path / "d.npz")


def test_a_broken_npz(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(b"nothing")
    assert "is not a .npz of NumPy" in refusal(path)
    np.savez(path, images=pixels(20))
    path.write_bytes(path.read_bytes()[:-900])
    assert "is not a .npz of NumPy" in refusal(path)


def test_tensors_that_are_no_images() -> None:
    for wrong in (torch.ones(2, 3, 4, 6), torch.ones(3, 4, 6).byte(), torch.ones(0, 3, 4, 6)):
        with pytest.raises(ImagesError, match=r"expected torch\.uint8"):
            ImageTensor(wrong)
    with pytest.raises(ImagesError, match="labels have shape"):
        ImageTensor(torch.ones(2, 3, 4, 6).byte(), torch.ones(3))
