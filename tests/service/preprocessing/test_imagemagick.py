"""The service reads the pixels that ImageMagick shows, in files of every kind."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidInput
from service.preprocessing.readers.png_chunks import png_background, png_header
from tests.service.pictures import read_image, save
from tests.service.preprocessing.variants import every_file

LIMIT = 32_000_000
TOLERANCE = 3  # of 255: two roundings, and two decoders of a lossy file
FILES = every_file()

# Files on which ImageMagick 6 is not followed, by how their names begin, and why.
EXPLAINED = {
    "bmp-4444": "it fills the lower bits of 4 with zeros, so that white is 240",
    "png-linear.png": "it takes sRGB's own curve where browsers take a power of 2.2",
    **dict.fromkeys(
        [f"tiff-0-{kind}" for kind in ("u2", "u4", "u12", "u32", "f16", "f32", "f64")],
        "it inverts WhiteIsZero of 1, 8 and 16 bits only; TIFF 6.0 has it for all",
    ),
    **dict.fromkeys(
        ("avif-LA", "avif-RGBA"), "it passes over AVIF's transparency, which browsers show"
    ),
}
# Files that are not read, by their names: Pillow does not take big-endian BigTIFF for BigTIFF.
UNSUPPORTED = (re.compile(r"-big-.*bigtiff"),)

Shown = NDArray[np.int16]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shown]:
    """What ImageMagick shows of a file, on the file's own background or white, squeezed."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "shown").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    options = ["-define", "png:color-type=6", "-depth", "8", "-format", "png", "-path", "shown"]
    mogrify = shutil.which("mogrify")
    assert mogrify, "ImageMagick is missing: make test installs it where it may"
    subprocess.run([mogrify, *options, *FILES], cwd=folder, capture_output=True, check=False)
    return lambda name: _flat(folder / "shown" / Path(name).with_suffix(".png"), FILES[name])


def _flat(path: Path, content: bytes) -> Shown:
    header = png_header(content)
    background = (header and png_background(header)) or (255, 255, 255)
    with Image.open(path) as image:
        page = Image.new("RGBA", image.size, background)
        flat = Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
    return read_image(save(flat, "PNG"), LIMIT, "raw").astype(np.int16)


def is_explained(name: str) -> bool:
    return name.startswith(tuple(EXPLAINED))


def is_unsupported(name: str) -> bool:
    return any(pattern.search(name) for pattern in UNSUPPORTED)


COMPARED = [name for name in FILES if not is_explained(name) and not is_unsupported(name)]


@pytest.mark.parametrize("name", COMPARED)
def test_a_file_is_seen_as_imagemagick_shows_it(name: str, shown: Callable[[str], Shown]) -> None:
    found = read_image(FILES[name], LIMIT, "raw").astype(np.int16)
    assert np.abs(found - shown(name)).max() <= TOLERANCE


@pytest.mark.parametrize("name", [name for name in FILES if is_explained(name)])
def test_a_difference_that_is_explained_is_one(name: str, shown: Callable[[str], Shown]) -> None:
    found = read_image(FILES[name], LIMIT, "raw").astype(np.int16)
    assert np.abs(found - shown(name)).max() > TOLERANCE


@pytest.mark.parametrize("name", [name for name in FILES if is_unsupported(name)])
def test_what_is_not_read_is_not_called_broken(name: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"of a kind that is not supported \(.*\): save it as PNG"
    ):
        read_image(FILES[name], LIMIT, "raw")
