"""BMP files whose pixels are bit fields: 16 or 32 bits, with a mask for each channel.

Source: Microsoft, Windows GDI, BITMAPV5HEADER; compressions BI_BITFIELDS and BI_ALPHABITFIELDS.
Pillow reads a few layouts of them.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from service.errors import InvalidInput

BIT_FIELDS, ALPHA_BIT_FIELDS = 3, 6
INFO_HEADER, HEADER_WITH_ALPHA = 40, 56  # bytes
MASKS = 54  # where they stand in the file
CHUNK_PIXELS = 2**20  # pixels converted at a time


def has_bit_fields(content: bytes) -> bool:
    """Return whether a file is a BMP with bit fields of 16 or 32 bits."""
    if len(content) < MASKS + 12:
        return False
    size, bits, compression = struct.unpack_from("<I10xHI", content, 14)
    return (
        content.startswith(b"BM")
        and size >= INFO_HEADER
        and bits in (16, 32)
        and compression in (BIT_FIELDS, ALPHA_BIT_FIELDS)
    )


class BitFieldsBmp(ImageFile.ImageFile):
    """A BMP with bit fields; its mode is RGBA if any pixel's alpha is not 0, else RGB."""

    format = "BMP"
    format_description = "Windows Bitmap with bit fields"

    def _open(self) -> None:
        header = self.fp.read(MASKS + 16)  # type: ignore[union-attr]
        (self._start,) = struct.unpack_from("<I", header, 10)
        size, width, height, bits, compression = struct.unpack_from("<Iii2xHI", header, 14)
        if width <= 0 or height == 0:
            raise OSError(f"it has {width} x {height} pixels")
        with_alpha = compression == ALPHA_BIT_FIELDS or size >= HEADER_WITH_ALPHA
        masks = struct.unpack_from("<4I", header.ljust(MASKS + 16, b"\0"), MASKS)
        self._masks = [*masks[:3], masks[3] if with_alpha else 0]
        self._dtype = np.dtype(f"<u{bits // 8}")
        self._size = width, abs(height)
        self._upwards = height > 0
        self._mode = "RGBA" if self._masks[3] else "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), self._start, self._mode)]

    def load(self) -> Any:
        """Decode the pixels.

        Raises:
            InvalidInput: a mask is no run of bits.
            OSError: pixels are missing.
        """
        if self.tile:
            self.tile = []
            self.im = self._decoded().im
        return super().load()

    def _decoded(self) -> Image.Image:
        file = self.fp
        width, height = self.size
        row = -(-width * self._dtype.itemsize // 4) * 4  # bytes
        decoded = Image.new(self.mode, self.size)
        rows = max(1, CHUNK_PIXELS // width)
        visible = False
        file.seek(self._start)  # type: ignore[union-attr]
        for top in range(0, height, rows):
            count = min(rows, height - top)
            packed = file.read(row * count)  # type: ignore[union-attr]
            if len(packed) < row * count:
                raise OSError(
                    f"rows are missing: expected {height}, got {top + len(packed) // row}"
                )
            pixels = np.frombuffer(packed, np.uint8).reshape(count, row)  # (h, bytes)
            pixels = pixels[:, : width * self._dtype.itemsize].copy().view(self._dtype)  # (h, W)
            channels = [_field(pixels, mask) for mask in self._masks[: len(self.mode)]]
            band = np.dstack(channels)  # (h, W, C)
            visible = visible or (len(channels) == 4 and bool(channels[3].any()))
            if self._upwards:
                decoded.paste(Image.fromarray(band[::-1].copy()), (0, height - top - count))
            else:
                decoded.paste(Image.fromarray(band), (0, top))
        if self.mode == "RGBA" and not visible:  # many programs leave 0 in alpha, and mean opaque
            self._mode = "RGB"
            return decoded.convert("RGB")
        return decoded


def _field(pixels: NDArray[Any], mask: int) -> NDArray[np.uint8]:
    """Return the bits (H, W) under a mask, in 8 bits; 0 where a mask is empty."""
    if mask == 0:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    if most & (most + 1):
        raise InvalidInput(
            f"the image is broken: expected a run of bits as mask of a channel, got {mask:#x}"
        )
    values = (pixels.astype(np.uint32) & np.uint32(mask)) >> np.uint32(shift)  # (H, W)
    if most == 255:
        return values.astype(np.uint8)
    scaled: NDArray[np.uint8] = np.rint(values * np.float32(255 / most)).astype(np.uint8)
    return scaled
