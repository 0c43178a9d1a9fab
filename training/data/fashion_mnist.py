"""Fashion-MNIST: find it or download it, and check its files against their digests.

Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", 2017, https://arxiv.org/abs/1708.07747.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from training.data.dataset import STEMS, Split, SplitName, present_file, read_split
from training.errors import DatasetError

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# SHA-256 of the uncompressed files: Debian recompresses the archives it ships.
DIGESTS: Mapping[str, str] = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

VARIABLE = "FASHION_MNIST_DIR"
DOWNLOADS = Path("data")
TORCHVISION_FOLDER = DOWNLOADS / "FashionMNIST" / "raw"
PLACES = (
    DOWNLOADS,
    TORCHVISION_FOLDER,
    Path("/usr/local/share/datasets/fashion-mnist"),
    Path("/usr/share/datasets/fashion-mnist"),  # Debian's package dataset-fashion-mnist
)


def load_split(name: SplitName, directory: Path | None = None) -> Split:
    """Return one half of Fashion-MNIST; each file is checked against its digest.

    Args:
        name: "train" (60,000 images) or "test" (10,000).
        directory: the folder of the IDX files. By default `FASHION_MNIST_DIR`
            if it is set, else the first of `PLACES` that has this half, else
            a download into `data/`.

    Raises:
        IdxError: a file is not a complete IDX array.
        DatasetError: the data set is not found, or is not Fashion-MNIST.
    """
    folder = directory or find_directory(name)
    split = read_split(folder, name, len(LABELS))
    for stem, digest in split.digests.items():
        if digest != DIGESTS[stem]:
            raise DatasetError(
                f"{stem} in {folder} is not Fashion-MNIST's: its SHA-256 is {digest}, not "
                f"{DIGESTS[stem]}. Fetch it again, or name your own classes with --labels"
            )
    return split


def find_directory(name: SplitName, *, offline: bool = False) -> Path:
    """Return the folder that has this half of Fashion-MNIST; download it if necessary.

    Raises:
        DatasetError: it is not found, and cannot or (offline) must not be downloaded.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    for place in PLACES:
        if all(present_file(place, stem) for stem in STEMS[name]):
            return place
    if offline:
        raise _nowhere("downloading was not asked for")
    return _download()


def _download() -> Path:
    """Download it with torchvision, which knows the mirrors."""
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

    try:
        FashionMNIST(str(DOWNLOADS), download=True)
    except (OSError, RuntimeError) as error:
        raise _nowhere(f"cannot be downloaded: {error}") from error
    return TORCHVISION_FOLDER


def _nowhere(reason: str) -> DatasetError:
    places = ", ".join(map(str, PLACES))
    return DatasetError(
        f"Fashion-MNIST is not in {places} ({reason}). Install Debian's dataset-fashion-mnist, "
        f"or put the four IDX files into data/ or a folder named by {VARIABLE}"
    )
