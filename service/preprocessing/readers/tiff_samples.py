"""The samples of a TIFF of more than 8 bits, signed, floating-point, or with alpha or in ink.

Which of them are read here: those that Pillow refuses, or shows as browsers do not.

Sources: TIFF, revision 6.0, sections 2, 8, 14, 16, 18, 19; TIFF Technical Notes 1 (predictor) and 3
(floating point).
"""

from typing import Any, NamedTuple

import numpy as np

from service.preprocessing.readers.tiff_directory import (
    BLACK_IS_ZERO,
    BYTE_CODECS,
    CMYK,
    FLOATING,
    MOST_VALUES,
    RGB,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    Tag,
    TiffDirectory,
)

COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}
NUMPY_KIND = {UNSIGNED: "u", SIGNED: "i", FLOATING: "f"}
BITS_OF = {UNSIGNED: (8, 12, 16, 32), SIGNED: (16, 32), FLOATING: (16, 32, 64)}
NO_PREDICTOR, DIFFERENCES, FLOATING_DIFFERENCES = 1, 2, 3
UNSPECIFIED, ASSOCIATED, UNASSOCIATED, MAYBE_ALPHA = 0, 1, 2, 3


class Samples(NamedTuple):
    """The samples of a TIFF's first image."""

    width: int
    height: int
    photometric: int
    dtype: np.dtype[Any]  # of a sample; 12 bits are unpacked to 16
    bits: int
    channels: int  # colours and alpha and what else there is
    alpha: int  # 0: none; `MAYBE_ALPHA`: an extra sample, which is alpha if not all of it is 0
    predictor: int
    orientation: int
    tile: tuple[int, int]  # (0, 0): strips

    @property
    def mode(self) -> str:
        """Pillow's mode for the samples in 8 bits: L, LA, RGB or RGBA."""
        return ("L" if COLOURS[self.photometric] == 1 else "RGB") + ("A" if self.alpha else "")

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row of so many pixels."""
        return -(-width * self.channels * self.bits // 8)


def read_samples(directory: TiffDirectory) -> Samples | None:
    """Return what is known of a TIFF's samples; None if Pillow reads its kind, or nobody does."""
    values, one = directory.values, directory.first
    channels = one(Tag.SAMPLES, 1)
    bits, formats = set(values.get(Tag.BITS, (1,))), set(values.get(Tag.SAMPLE_FORMAT, (UNSIGNED,)))
    extra = values.get(Tag.EXTRA_SAMPLES, ())
    photometric, predictor = one(Tag.PHOTOMETRIC), one(Tag.PREDICTOR, NO_PREDICTOR)
    tile = (one(Tag.TILE_WIDTH), one(Tag.TILE_HEIGHT))
    if (
        len(bits) != 1
        or len(formats) != 1
        or photometric not in COLOURS
        or not 0 < channels <= MOST_VALUES
        or COLOURS[photometric] + len(extra) != channels
        or one(Tag.COMPRESSION, 1) not in BYTE_CODECS
        or (one(Tag.PLANAR, 1) != 1 and channels > 1)
        or not 0 < one(Tag.WIDTH) < 2**31
        or not 0 < one(Tag.HEIGHT) < 2**31
    ):
        return None
    (depth,), (sample_format,) = bits, formats
    alpha = extra[0] if extra and extra[0] in (ASSOCIATED, UNASSOCIATED) else 0
    if extra == (UNSPECIFIED,):  # as ImageMagick has it
        alpha = MAYBE_ALPHA
    if (
        depth not in BITS_OF.get(sample_format, ())
        or _pillow_does(depth, sample_format, photometric, alpha, len(extra))
        or (depth == 12 and (channels > 1 or predictor != NO_PREDICTOR))
        or (predictor == DIFFERENCES and sample_format == FLOATING)
        or (predictor == FLOATING_DIFFERENCES and (sample_format != FLOATING or any(tile)))
        or predictor not in (NO_PREDICTOR, DIFFERENCES, FLOATING_DIFFERENCES)
    ):
        return None
    order = ">" if predictor == FLOATING_DIFFERENCES else directory.layout.order
    return Samples(
        width=one(Tag.WIDTH),
        height=one(Tag.HEIGHT),
        photometric=photometric,
        dtype=np.dtype(
            f"{order}{NUMPY_KIND[sample_format]}{-(-depth // 16) * 2 if depth > 8 else 1}"
        ),
        bits=depth,
        channels=channels,
        alpha=alpha,
        predictor=predictor,
        orientation=one(Tag.ORIENTATION, 1),
        tile=tile,
    )


def _pillow_does(depth: int, sample_format: int, photometric: int, alpha: int, extra: int) -> bool:
    """Return whether Pillow shows 8 bits as browsers do; what has more bits is read here."""
    if depth != 8 or sample_format != UNSIGNED:
        return False
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return extra == 0 or (photometric == BLACK_IS_ZERO and alpha == UNASSOCIATED)
    return alpha != MAYBE_ALPHA if photometric == RGB else not alpha
