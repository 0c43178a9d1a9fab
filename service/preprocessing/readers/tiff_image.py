"""Decode the TIFF files whose samples `read_samples` knows.

Pillow refuses some of these kinds, takes white for black in others, and swaps the bytes of numbers
that libtiff has swapped already.

libtiff unpacks any of them if the file says that it is wider and in 8-bit grey: it then leaves the
bytes as they are, and here they become samples, and colours. So its codecs, and the limits of
memory and time around Pillow, hold for these files too.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from service.preprocessing.bit_depth import white_point
from service.preprocessing.readers.tiff_directory import (
    BLACK_IS_ZERO,
    CMYK,
    LONG,
    WHITE_IS_ZERO,
    Tag,
    TiffDirectory,
)
from service.preprocessing.readers.tiff_samples import (
    ASSOCIATED,
    COLOURS,
    DIFFERENCES,
    FLOATING_DIFFERENCES,
    MAYBE_ALPHA,
    Samples,
)
from service.preprocessing.time_limited_reader import TimeLimitedReader

CHUNK_SAMPLES = 2**20  # samples converted at a time


class SamplesTiff(ImageFile.ImageFile):
    """A TIFF whose samples `read_samples` knows, as 8-bit L, LA, RGB or RGBA."""

    format = "TIFF"
    format_description = "TIFF of more than 8 bits"

    def __init__(self, content: bytes, directory: TiffDirectory, samples: Samples) -> None:
        """Open a file.

        Args:
            content: the file.
            directory: as `read_directory` returns it.
            samples: as `read_samples` returns them.
        """
        self._content, self._directory, self.samples = content, directory, samples
        super().__init__(TimeLimitedReader(content))

    def _open(self) -> None:
        self._size = self.samples.width, self.samples.height
        self._mode = self.samples.mode
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = self.samples.orientation
        self.info["exif"] = exif.tobytes()
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 0, self._mode)]

    def load(self) -> Any:
        """Decode the samples.

        Raises:
            InvalidInput: they have no known range.
            OSError: the file is broken.
        """
        if self.tile:
            self.tile = []
            packed = TiffImageFile(
                TimeLimitedReader(_as_bytes_in_grey(self._content, self._directory, self.samples))
            )
            self._content = b""
            packed.load()
            self.im = _decode(packed, self.samples).im
        return super().load()


def _as_bytes_in_grey(content: bytes, directory: TiffDirectory, samples: Samples) -> bytes:
    """Return a TIFF with a second directory, which says that its bytes are pixels."""
    layout = directory.layout
    strips = (Tag.STRIP_OFFSETS, Tag.ROWS, Tag.STRIP_COUNTS)
    kept = (
        Tag.COMPRESSION,
        Tag.FILL_ORDER,
        *strips,
        Tag.TILE_HEIGHT,
        Tag.TILE_OFFSETS,
        Tag.TILE_COUNTS,
    )
    entries = {tag: directory.entries[tag] for tag in kept if tag in directory.entries}
    changed = {Tag.WIDTH: samples.row_bytes(samples.width), Tag.HEIGHT: samples.height}
    changed |= {Tag.BITS: 8, Tag.PHOTOMETRIC: BLACK_IS_ZERO, Tag.SAMPLES: 1}
    if samples.tile[0]:
        changed[Tag.TILE_WIDTH] = samples.row_bytes(samples.tile[0])
    size = struct.calcsize(layout.offset)
    for tag, value in changed.items():
        packed = struct.pack(layout.order + "I", min(value, 2**32 - 1))
        entries[tag] = (LONG, 1, packed.ljust(size, b"\0"))
    place = len(content) + len(content) % 2
    head = content[: layout.start] + struct.pack(layout.order + layout.offset, place)
    return b"".join(
        (
            head,
            content[len(head) :],
            bytes(len(content) % 2),
            struct.pack(layout.order + layout.number, len(entries)),
            *(
                struct.pack(layout.order + layout.entry, tag, *entry)
                for tag, entry in sorted(entries.items())
            ),
            bytes(size),
        )
    )


def _decode(packed: Image.Image, samples: Samples) -> Image.Image:
    """Return the image in 8 bits of a loaded one whose pixels (H, bytes of a row) are bytes."""
    bands = _Bands(packed, samples)
    whites = _range(bands)
    decoded = Image.new(samples.mode, (samples.width, samples.height))
    for top in bands.tops:
        band = _in_8_bits(bands.read(top), samples, whites)  # (h, W, C)
        decoded.paste(Image.fromarray(band if band.shape[2] > 1 else band[..., 0]), (0, top))
    if samples.alpha == MAYBE_ALPHA and decoded.getextrema()[-1] == (0, 0):
        decoded.putalpha(255)
    return decoded


class _Bands:
    """An image's samples, a few rows at a time: all at once they would take twice the memory."""

    def __init__(self, packed: Image.Image, samples: Samples) -> None:
        self._packed, self._samples = packed, samples
        self._rows = max(1, CHUNK_SAMPLES // (samples.width * samples.channels))
        self.tops = range(0, samples.height, self._rows)

    def read(self, top: int) -> NDArray[Any]:
        """Return samples (h, W, C) from a row on."""
        below = min(top + self._rows, self._samples.height)
        packed = np.asarray(self._packed.crop((0, top, self._packed.width, below)))  # (h, bytes)
        return _unpacked(packed, self._samples)


def _unpacked(packed: NDArray[np.uint8], samples: Samples) -> NDArray[Any]:
    """Return the samples (h, W, C) of rows of bytes (h, bytes)."""
    rows, width, channels = len(packed), samples.width, samples.channels
    if samples.bits == 12:
        padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 3))).astype(np.uint16)
        first, middle, last = padded.reshape(rows, -1, 3).transpose(2, 0, 1)  # (h, pairs) each
        pairs = np.stack([first << 4 | middle >> 4, (middle & 15) << 8 | last], -1)  # (h, pairs, 2)
        return pairs.reshape(rows, -1)[:, :width, None]
    if samples.predictor == FLOATING_DIFFERENCES:
        by_channel = packed.reshape(rows, -1, channels)
        summed = np.cumsum(by_channel, axis=1, dtype=np.uint8)
        planes = summed.reshape(rows, samples.dtype.itemsize, -1)  # (h, bytes of a sample, W C)
        packed = np.ascontiguousarray(planes.swapaxes(1, 2)).reshape(rows, -1)  # (h, bytes)
    values = np.ascontiguousarray(packed).view(samples.dtype).reshape(rows, width, channels)
    if samples.predictor != DIFFERENCES:
        return values
    step = samples.tile[0] or width
    native = values.dtype.newbyteorder("=")
    pieces = [
        np.cumsum(values[:, left : left + step], axis=1, dtype=native)
        for left in range(0, width, step)
    ]
    return np.concatenate(pieces, axis=1)


class _White(NamedTuple):
    """The samples' black and white."""

    black: float
    white: float


def _range(bands: "_Bands") -> _White:
    """Return black and white of samples.

    Raises:
        InvalidInput: a 32-bit or floating-point image has no known range.
    """
    samples = bands._samples
    if samples.dtype.kind == "u" and samples.bits <= 16:
        return _White(0, 2**samples.bits - 1)
    if samples.dtype.kind == "i" and samples.bits <= 16:
        return _White(-(2 ** (samples.bits - 1)), 2 ** (samples.bits - 1) - 1)
    lows, highs = zip(*(_extrema(bands.read(top)) for top in bands.tops), strict=True)
    low, high = np.min(lows), np.max(highs)  # both are NaN if a sample is
    return _White(0, white_point(low, high, samples.dtype))


def _extrema(values: NDArray[Any]) -> tuple[Any, Any]:
    return values.min(), values.max()


def _in_8_bits(values: NDArray[Any], samples: Samples, limits: _White) -> NDArray[np.uint8]:
    """Return samples (h, W, C) as L, LA, RGB or RGBA, (h, W, 1 to 4)."""
    span = limits.white - limits.black
    lit = (values.astype(np.float32) - np.float32(limits.black)) * np.float32(255 / span)
    count = COLOURS[samples.photometric]
    colours, alpha = lit[..., :count], lit[..., count : count + 1]  # (h, W, 1, 3 or 4), (h, W, 1)
    if samples.alpha == ASSOCIATED:
        colours = np.minimum(colours * 255 / np.maximum(alpha, 1e-6), 255)
    if samples.photometric == WHITE_IS_ZERO:
        colours = 255 - colours
    if samples.photometric == CMYK:
        colours = (255 - colours[..., :3]) * (255 - colours[..., 3:]) / 255  # (h, W, 3)
    if samples.alpha:
        colours = np.concatenate([colours, alpha], axis=2)
    rounded: NDArray[np.uint8] = np.rint(colours).astype(np.uint8)
    return rounded
