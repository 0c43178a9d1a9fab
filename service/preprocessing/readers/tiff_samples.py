"""TIFF files of more than 8 bits, signed, floating-point, or with alpha beside grey or ink.

Sources: TIFF, revision 6.0, sections 2, 8, 14, 16, 18, 19; TIFF Technical Notes 1 (predictor) and 3
(floating point). Pillow refuses some of these kinds, takes white for black in others, and turns the
bytes of numbers around that libtiff has turned already.

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
from service.preprocessing.time_limited_reader import TimeLimitedReader

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS, STRIP_COUNTS = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 284, 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339

BYTE_CODECS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate, PackBits, LZMA, Zstandard
IMAGE_CODECS = (2, 3, 4, 6, 7)  # CCITT, JPEG
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}
UNSIGNED, SIGNED, FLOATING = 1, 2, 3
NUMPY_KIND = {UNSIGNED: "u", SIGNED: "i", FLOATING: "f"}
BITS_OF = {UNSIGNED: (8, 12, 16, 32), SIGNED: (16, 32), FLOATING: (16, 32, 64)}
NO_PREDICTOR, DIFFERENCES, FLOATING_DIFFERENCES = 1, 2, 3
UNSPECIFIED, ASSOCIATED, UNASSOCIATED, MAYBE_ALPHA = 0, 1, 2, 3

PHOTOMETRIC_NAMES = {WHITE_IS_ZERO: "grey, white is 0", BLACK_IS_ZERO: "grey", RGB: "RGB"}
PHOTOMETRIC_NAMES |= {3: "palette", 4: "mask", CMYK: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab"}
PHOTOMETRIC_NAMES |= {32803: "colour filter array", 32844: "LogL", 32845: "LogLuv"}
FORMAT_NAMES = {UNSIGNED: "", SIGNED: "signed", FLOATING: "floating point", 4: "undefined"}
FORMAT_NAMES |= {5: "complex integers", 6: "complex numbers"}
COMPRESSION_NAMES = {1: "uncompressed", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "deflate"}
COMPRESSION_NAMES |= {32773: "PackBits", 34676: "SGI Log", 34712: "JPEG 2000", 34925: "LZMA"}
COMPRESSION_NAMES |= {34887: "LERC", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}

SHORT, LONG = 3, 4
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
SIZES |= {13: 4, 16: 8, 17: 8, 18: 8}
MOST_VALUES = 16  # read of a tag; a pixel has no more samples
PIECE = 2**20  # samples converted at a time


class Layout(NamedTuple):
    """How a classic TIFF or BigTIFF is written down."""

    order: str  # of the bytes, as `struct` has it
    start: int  # of the number that says where the directory is
    number: str  # of entries, as `struct` has it
    entry: str  # number, type, how many, and bytes of the value or of its place
    offset: str


CLASSIC = {b"II*\0": "<", b"MM\0*": ">"}
BIG = {b"II+\0": "<"}
BIG_BIG_ENDIAN = b"MM\0+"  # which Pillow does not take for BigTIFF


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


class _Directory(NamedTuple):
    layout: Layout
    entries: dict[int, tuple[int, int, bytes]]  # by tag: type, how many, value or place
    values: dict[int, tuple[int, ...]]  # the small ones, by tag


def read_samples(content: bytes) -> Samples | None:
    """Return what is known of a TIFF's samples, or None if Pillow reads its kind, or nobody."""
    directory = _directory(content)
    return None if directory is None else _samples(directory)


def describe_tiff(content: bytes) -> str | None:
    """Return in words of which kind a TIFF is; None if its tags contradict each other."""
    if content.startswith(BIG_BIG_ENDIAN):
        return "big-endian BigTIFF"
    directory = _directory(content)
    if directory is None:
        return None
    values = directory.values
    channels = (values.get(SAMPLES) or (1,))[0]
    bits = sorted(set(values.get(BITS, (1,))))
    photometric = (values.get(PHOTOMETRIC) or (0,))[0]
    compression = (values.get(COMPRESSION) or (1,))[0]
    if not channels or not all(0 < depth <= 64 for depth in bits):
        return None
    colours = PHOTOMETRIC_NAMES.get(photometric, f"photometric interpretation {photometric}")
    formats = {FORMAT_NAMES.get(one, f"format {one}") for one in values.get(SAMPLE_FORMAT, ())}
    return (
        f"{colours}, {channels} sample{'s' * (channels > 1)} of {' and '.join(map(str, bits))} bits"
        + "".join(f", {name}" for name in sorted(formats - {""}))
        + (
            f", alpha or extra samples {extra}"
            if (extra := list(values.get(EXTRA_SAMPLES, ())))
            else ""
        )
        + f", {COMPRESSION_NAMES.get(compression, f'compression {compression}')}"
    )


def is_known(content: bytes) -> bool:
    """Return whether Pillow may know a TIFF's layout and codec; True for a broken one."""
    if content.startswith(BIG_BIG_ENDIAN):
        return False
    directory = _directory(content)
    if directory is None:
        return True
    compression = directory.values.get(COMPRESSION) or (1,)
    return compression[0] in BYTE_CODECS + IMAGE_CODECS


class SamplesTiff(ImageFile.ImageFile):
    """A TIFF of which `read_samples` knows the samples, as 8-bit L, LA, RGB or RGBA."""

    format = "TIFF"
    format_description = "TIFF of more than 8 bits"

    def _open(self) -> None:
        self._content = self.fp.read()  # type: ignore[union-attr]
        directory = _directory(self._content)
        found = directory and _samples(directory)
        if directory is None or not found:
            raise SyntaxError("not a TIFF of samples that are known here")
        self._directory, self.samples = directory, found
        self._size = found.width, found.height
        self._mode = _mode(found)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = found.orientation
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


def _directory(content: bytes) -> _Directory | None:
    """Return a TIFF's first directory; None for one that is broken, which Pillow explains."""
    if order := CLASSIC.get(content[:4]):
        layout = Layout(order, 4, "H", "HHI4s", "I")
    elif (order := BIG.get(content[:4])) and content[4:8] == struct.pack(order + "HH", 8, 0):
        layout = Layout(order, 8, "Q", "HHQ8s", "Q")
    else:
        return None
    entry = struct.Struct(order + layout.entry)
    try:
        (start,) = struct.unpack_from(order + layout.offset, content, layout.start)
        (count,) = struct.unpack_from(order + layout.number, content, start)
        start += struct.calcsize(layout.number)
        if start + count * entry.size > len(content):
            return None
        entries = {
            tag: (kind, number, value)
            for tag, kind, number, value in entry.iter_unpack(
                content[start : start + count * entry.size]
            )
        }
        values = {
            tag: _values(content, layout, *found)
            for tag, found in entries.items()
            if WIDTH <= tag <= SAMPLE_FORMAT and found[1] <= MOST_VALUES
        }
    except struct.error:
        return None
    return _Directory(layout, entries, values)


def _values(
    content: bytes, layout: Layout, kind: int, number: int, value: bytes
) -> tuple[int, ...]:
    """Return a tag's whole numbers; none for other types.

    Raises:
        struct.error: they are behind the file's end.
    """
    letter = {1: "B", SHORT: "H", LONG: "I", 16: "Q"}.get(kind)
    if letter is None:
        return ()
    format_ = f"{layout.order}{number}{letter}"
    if struct.calcsize(format_) <= len(value):
        return struct.unpack_from(format_, value)
    return struct.unpack_from(format_, content, *struct.unpack(layout.order + layout.offset, value))


def _samples(directory: _Directory) -> Samples | None:
    values = directory.values

    def one(tag: int, default: int = 0) -> int:
        return (values.get(tag) or (default,))[0]

    channels = one(SAMPLES, 1)
    bits, formats = set(values.get(BITS, (1,))), set(values.get(SAMPLE_FORMAT, (UNSIGNED,)))
    extra = values.get(EXTRA_SAMPLES, ())
    photometric, predictor = one(PHOTOMETRIC), one(PREDICTOR, NO_PREDICTOR)
    tile = (one(TILE_WIDTH), one(TILE_HEIGHT))
    if (
        len(bits) != 1
        or len(formats) != 1
        or photometric not in COLOURS
        or not 0 < channels <= MOST_VALUES
        or COLOURS[photometric] + len(extra) != channels
        or one(COMPRESSION, 1) not in BYTE_CODECS
        or (one(PLANAR, 1) != 1 and channels > 1)
        or not 0 < one(WIDTH) < 2**31
        or not 0 < one(HEIGHT) < 2**31
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
        width=one(WIDTH),
        height=one(HEIGHT),
        photometric=photometric,
        dtype=np.dtype(
            f"{order}{NUMPY_KIND[sample_format]}{-(-depth // 16) * 2 if depth > 8 else 1}"
        ),
        bits=depth,
        channels=channels,
        alpha=alpha,
        predictor=predictor,
        orientation=one(ORIENTATION, 1),
        tile=tile,
    )


def _pillow_does(depth: int, sample_format: int, photometric: int, alpha: int, extra: int) -> bool:
    """Return whether Pillow shows 8 bits as browsers do; what has more bits is read here."""
    if depth != 8 or sample_format != UNSIGNED:
        return False
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return extra == 0 or (photometric == BLACK_IS_ZERO and alpha == UNASSOCIATED)
    return alpha != MAYBE_ALPHA if photometric == RGB else not alpha


def _as_bytes_in_grey(content: bytes, directory: _Directory, samples: Samples) -> bytes:
    """Return a TIFF with a second directory, which says that its bytes are pixels."""
    layout = directory.layout
    strips = (STRIP_OFFSETS, ROWS, STRIP_COUNTS)
    kept = (COMPRESSION, FILL_ORDER, *strips, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS)
    entries = {tag: directory.entries[tag] for tag in kept if tag in directory.entries}
    changed = {WIDTH: _row_bytes(samples, samples.width), HEIGHT: samples.height}
    changed |= {BITS: 8, PHOTOMETRIC: BLACK_IS_ZERO, SAMPLES: 1}
    if samples.tile[0]:
        changed[TILE_WIDTH] = _row_bytes(samples, samples.tile[0])
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


def _row_bytes(samples: Samples, width: int) -> int:
    return -(-width * samples.channels * samples.bits // 8)


def _decode(packed: Image.Image, samples: Samples) -> Image.Image:
    """Return the image in 8 bits of a loaded one whose pixels (H, bytes of a row) are bytes."""
    bands = _Bands(packed, samples)
    whites = _range(bands)
    decoded = Image.new(_mode(samples), (samples.width, samples.height))
    for top in bands.tops:
        band = _in_8_bits(bands.read(top), samples, whites)  # (h, W, C)
        decoded.paste(Image.fromarray(band if band.shape[2] > 1 else band[..., 0]), (0, top))
    if samples.alpha == MAYBE_ALPHA and decoded.getextrema()[-1] == (0, 0):
        decoded.putalpha(255)
    return decoded


def _mode(samples: Samples) -> str:
    return ("L" if COLOURS[samples.photometric] == 1 else "RGB") + ("A" if samples.alpha else "")


class _Bands:
    """An image's samples, a few rows at a time: all at once they would take twice the memory."""

    def __init__(self, packed: Image.Image, samples: Samples) -> None:
        self._packed, self._samples = packed, samples
        self._rows = max(1, PIECE // (samples.width * samples.channels))
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
