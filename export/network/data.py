"""Images for a proof, read a batch at a time: a folder of pictures, IDX files, or a `.npz`."""

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from export.errors import ImagesError, one_line
from training.data.dataset import STEMS, present_file
from training.data.idx import parse_idx, read_content

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)
Shape = tuple[int, int, int]  # (C, H, W)


class Images(ABC):
    """N images of C x H x W bytes that are read anew for each pass, a batch at a time.

    Attributes:
        shape: (C, H, W).
        labels: each image's class, (N,) int64; None if the data names none.
        names: the classes' names, in the order of the labels; None if the data has none.
    """

    shape: Shape
    labels: Tensor | None = None
    names: tuple[str, ...] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return N."""

    @abstractmethod
    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, (B, C, H, W) uint8 with B at most size."""

    def take(self, indices: Sequence[int]) -> Tensor:
        """Return the images with these indices, (len(indices), C, H, W) uint8."""
        wanted: dict[int, Tensor] = {}
        for index, image in enumerate(image for batch in self.batches(64) for image in batch):
            if index in indices:
                wanted[index] = image
        return torch.stack([wanted[index] for index in indices])


class ImageTensor(Images):
    """Images that are in memory."""

    def __init__(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Hold (N, C, H, W) uint8 images, N at least 1, and their labels (N,).

        Raises:
            ImagesError: a tensor has another dtype or shape.
        """
        if images.dtype != torch.uint8 or images.dim() != 4 or len(images) == 0:
            raise ImagesError(
                f"the images are {images.dtype} {tuple(images.shape)}: expected torch.uint8 "
                "(N, C, H, W), one image or more"
            )
        _check_labels(labels, len(images), "the images")
        self._images = images.cpu()
        self.shape = _shape(images.shape[1:])
        self.labels = labels

    def __len__(self) -> int:
        """Return N."""
        return len(self._images)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, (B, C, H, W) uint8."""
        yield from torch.split(self._images, size)


class PictureFolder(Images):
    """A folder with one sub-folder of pictures per class, as torchvision's ImageFolder takes it."""

    def __init__(self, folder: Path, shape: Shape, limit: int) -> None:
        """List at most limit pictures, evenly over the classes; none is read yet.

        Raises:
            ImagesError: there are no sub-folders, or one has no pictures.
        """
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        if not classes:
            raise ImagesError(
                f"{folder} has no sub-folders: expected one folder of pictures for each class, IDX "
                "files, or a .npz"
            )
        files = [(path, number) for number, kind in enumerate(classes) for path in _pictures(kind)]
        self._files = [files[index] for index in evenly(len(files), limit)]
        self.shape = shape
        self.labels = torch.tensor([number for _, number in self._files])
        self.names = tuple(path.name for path in classes)

    def __len__(self) -> int:
        """Return N."""
        return len(self._files)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, (B, C, H, W) uint8, squeezed to H x W.

        Raises:
            ImagesError: a picture cannot be read.
        """
        for start in range(0, len(self), size):
            files = self._files[start : start + size]
            yield torch.stack([_read_picture(path, self.shape) for path, _ in files])


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ImagesError(
            f"{folder} has no pictures: expected some in the folder of each class "
            f"({', '.join(sorted(SUFFIXES))})"
        )
    return found


def _read_picture(path: Path, shape: Shape) -> Tensor:
    channels, height, width = shape
    try:
        with Image.open(path) as picture:
            pixels = picture.convert("L" if channels == 1 else "RGB").resize(
                (width, height), Image.Resampling.BILINEAR
            )
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ImagesError(f"cannot read the picture {path}: {one_line(error)}") from error
    array = torch.from_numpy(np.array(pixels))  # (H, W) or (H, W, 3)
    return array.reshape(height, width, channels).permute(2, 0, 1).contiguous()  # (C, H, W)


class NpzFile(Images):
    """A `.npz` with `images`, uint8 (N, C, H, W), and perhaps `labels`, integers (N,)."""

    def __init__(self, path: Path, limit: int) -> None:
        """Read the arrays' headers, and the labels.

        Raises:
            ImagesError: the file is not a .npz with such arrays.
        """
        self._path = path
        labels = None
        try:
            with zipfile.ZipFile(path) as arrays:
                keys = [name.removesuffix(".npy") for name in arrays.namelist()]
                if "images" not in keys:
                    raise ImagesError(
                        f"{path} has the arrays {', '.join(keys)}: expected `images`, uint8 "
                        "(N, C, H, W), and perhaps `labels`, (N,)"
                    )
                with arrays.open("images.npy") as file:
                    shape, columns_first, dtype = _header(file)
                if "labels" in keys:
                    with arrays.open("labels.npy") as file:
                        labels = npy.read_array(file, allow_pickle=False)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ImagesError(f"{path} is not a .npz of NumPy: {one_line(error)}") from error
        if dtype != np.uint8 or len(shape) != 4 or columns_first or shape[0] == 0:
            raise ImagesError(
                f"the images of {path} are {dtype} {shape}: expected uint8 (N, C, H, W), in C order"
            )
        self._indices = evenly(shape[0], limit)
        self.shape = _shape(shape[1:])
        if labels is not None:
            self.labels = self._checked(labels, shape[0])[self._indices]

    def _checked(self, labels: NDArray[np.generic], count: int) -> Tensor:
        if labels.dtype.kind not in "iu":
            raise ImagesError(
                f"the labels of {self._path} are {labels.dtype} {labels.shape}: expected integers "
                f"({count},)"
            )
        found = torch.from_numpy(labels.astype(np.int64))
        _check_labels(found, count, str(self._path))
        return found

    def __len__(self) -> int:
        """Return N."""
        return len(self._indices)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield the images in order, (B, C, H, W) uint8.

        Raises:
            ImagesError: the file is cut off.
        """
        bytes_each = int(np.prod(self.shape))
        with zipfile.ZipFile(self._path) as arrays, arrays.open("images.npy") as file:
            _header(file)
            position = 0
            for start in range(0, len(self), size):
                parts = []
                for index in self._indices[start : start + size]:
                    _skip(file, (index - position) * bytes_each)
                    content = file.read(bytes_each)
                    if len(content) != bytes_each:
                        raise ImagesError(f"{self._path} is cut off in image {index}")
                    parts.append(torch.frombuffer(bytearray(content), dtype=torch.uint8))
                    position = index + 1
                yield torch.stack(parts).reshape(-1, *self.shape)


def _skip(file: IO[bytes], count: int) -> None:
    while count > 0:
        read = len(file.read(min(count, 2**20)))
        count = count - read if read else 0


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return an array's shape, whether its columns come first, and its dtype."""
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    return read[npy.read_magic(file)](file)


def read_images(path: Path, shape: Shape, limit: int) -> Images:
    """Return at most limit images of a data set, evenly spaced over it.

    Args:
        path: a folder with one sub-folder of pictures per class, a folder of IDX files (of which
            the test set is taken, else the training set), or a `.npz`.
        shape: (C, H, W). Pictures are converted and squeezed to it; arrays must have it.
        limit: at least 1.

    Raises:
        ImagesError: the data set does not exist, or its images have another shape.
        IdxError: a file is not a complete IDX array.
    """
    found: Images
    if path.is_dir():
        found = _idx_files(path, limit) or PictureFolder(path, shape, limit)
    elif path.is_file():
        found = NpzFile(path, limit)
    else:
        raise ImagesError(f"{path} does not exist: name a folder or a .npz with --data")
    if found.shape != shape:
        raise ImagesError(
            f"the images of {path} are {'x'.join(map(str, found.shape))}: expected "
            f"{'x'.join(map(str, shape))}, as --image says"
        )
    return found


def _idx_files(folder: Path, limit: int) -> ImageTensor | None:
    """Return the images of IDX files, (N, H, W); None if the folder has none."""
    for stems in (STEMS["test"], STEMS["train"]):
        paths = [present_file(folder, stem) for stem in stems]
        if paths[0] is None:
            continue
        images = parse_idx(read_content(paths[0]), str(paths[0]))  # (N, H, W)
        if images.dim() != 3 or len(images) == 0:
            raise ImagesError(f"{paths[0]} has shape {tuple(images.shape)}: expected (N, H, W)")
        chosen = evenly(len(images), limit)
        labels = None
        if paths[1] is not None:
            labels = parse_idx(read_content(paths[1]), str(paths[1])).to(torch.int64)  # (N,)
            _check_labels(labels, len(images), str(paths[1]))
            labels = labels[chosen]
        return ImageTensor(images[chosen].unsqueeze(1), labels)  # (N, 1, H, W)
    return None


def evenly(count: int, limit: int) -> list[int]:
    """Return at most limit indices below count, evenly spaced; files are often sorted by class."""
    if count <= limit:
        return list(range(count))
    return [index * count // limit for index in range(limit)]


def _check_labels(labels: Tensor | None, count: int, owner: str) -> None:
    if labels is not None and tuple(labels.shape) != (count,):
        raise ImagesError(
            f"{owner}: the labels have shape {tuple(labels.shape)}, expected ({count},), one for "
            "each image"
        )


def _shape(sizes: Sequence[int]) -> Shape:
    channels, height, width = sizes
    return channels, height, width
