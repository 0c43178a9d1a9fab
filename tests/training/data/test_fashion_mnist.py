"""Fashion-MNIST is found in its folders, and its digests are checked."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.idx_files import TEST_SET
from training.data import fashion_mnist
from training.data.dataset import Split
from training.data.fashion_mnist import LABELS, load_split
from training.errors import DatasetError, IdxError

IMAGES = "t10k-images-idx3-ubyte.gz"
LABELS_FILE = "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in (IMAGES, LABELS_FILE):
        (tmp_path / name).write_bytes((TEST_SET / name).read_bytes())
    return tmp_path


@pytest.fixture
def empty_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data set in any folder, and no server to download from."""
    monkeypatch.delenv(fashion_mnist.VARIABLE, raising=False)
    places = (tmp_path / "first", tmp_path / "second")
    monkeypatch.setattr(fashion_mnist, "PLACES", places)
    monkeypatch.chdir(tmp_path)

    def no_network(*_: object, **__: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    return tmp_path


def test_the_test_set_is_whole_and_balanced(real: Split) -> None:
    assert real.images.shape == (10_000, 1, 28, 28)
    assert torch.bincount(real.labels).tolist() == [1000] * 10
    assert LABELS[real.labels[0]] == "Ankle boot"


def test_the_folder_can_hold_plain_files(copy: Path) -> None:
    for path in list(copy.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(load_split("test", copy)) == 10_000


def test_recompressed_files_are_the_same_files(copy: Path) -> None:
    content = gzip.decompress((copy / LABELS_FILE).read_bytes())
    (copy / LABELS_FILE).write_bytes(gzip.compress(content, compresslevel=1))
    assert len(load_split("test", copy)) == 10_000


def test_one_wrong_label_is_found(copy: Path) -> None:
    content = bytearray(gzip.decompress((copy / LABELS_FILE).read_bytes()))
    content[-1] ^= 1
    (copy / LABELS_FILE).write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DatasetError, match=r"t10k-labels-idx1-ubyte in .* is not Fashion-MNIST's"):
        load_split("test", copy)


def test_a_cut_download_is_found(copy: Path) -> None:
    packed = (copy / IMAGES).read_bytes()
    (copy / IMAGES).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(IdxError, match="is corrupt gzip"):
        load_split("test", copy)


def test_the_variable_comes_first(
    monkeypatch: pytest.MonkeyPatch, copy: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv(fashion_mnist.VARIABLE, str(copy))
    assert len(load_split("test")) == 10_000
    monkeypatch.setenv(fashion_mnist.VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(DatasetError, match="absent is not a folder"):
        load_split("test")


def test_the_first_place_that_has_the_half_is_taken(
    empty_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "PLACES", (empty_places / "first", TEST_SET))
    assert len(load_split("test")) == 10_000


def test_where_it_is_nowhere_the_remedies_are_told(empty_places: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load_split("train")
    for part in ("first", "second", "no network", "dataset-fashion-mnist", "FASHION_MNIST_DIR"):
        assert part in str(caught.value)


def test_torchvisions_download_is_looked_for_where_torchvision_puts_it(
    empty_places: Path, monkeypatch: pytest.MonkeyPatch, copy: Path
) -> None:
    def download(root: str, download: bool) -> None:
        assert download
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for name in (IMAGES, LABELS_FILE):
            (raw / name).write_bytes((TEST_SET / name).read_bytes())

    fetch: Callable[..., None] = download
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fetch)
    assert len(load_split("test")) == 10_000
