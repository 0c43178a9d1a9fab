"""Open an image file of any served kind, or tell why it cannot be.

What is not read is refused as not supported, with a way out; what is broken, with its true reason.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import AvifImagePlugin, Image, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import InvalidInput, RequestError, TooLarge
from service.preprocessing.fashion_mnist import BACKGROUND, GAMMA_EXPONENT
from service.preprocessing.formats import SERVED, Format, format_of, unsupported_format_of
from service.preprocessing.readers.bmp_bit_fields import BitFieldsBmp, has_bit_fields
from service.preprocessing.readers.jpeg_ending import load_without_end
from service.preprocessing.readers.png_chunks import (
    gamma_exponent,
    png_background,
    png_header,
    without_metadata,
)
from service.preprocessing.readers.png_transparency import (
    COLOUR_OF_16_BITS,
    load_with_transparent_colour,
    note_transparent_samples,
)
from service.preprocessing.readers.tiff_directory import describe_tiff, is_known, read_directory
from service.preprocessing.readers.tiff_image import SamplesTiff
from service.preprocessing.readers.tiff_samples import read_samples
from service.preprocessing.time_limited_reader import TimeLimitedReader

# Pillow would warn, and above twice this number raise, before we compare with our own limit.
Image.MAX_IMAGE_PIXELS = None

# Pillow's own reader of uncompressed TIFF takes 20 s for a file of four million strips.
TiffImagePlugin.READ_LIBTIFF = True

# Threads of their own would each take 8 MiB of a decoder process's address space.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# Each distinct warning about a broken file would stay in memory and in the log.
warnings.filterwarnings("ignore", module="PIL")

LONGEST_SIDE = 65_535  # of a JPEG or GIF; each row costs memory beyond its pixels
JPEG_CHUNK_BYTES = 2048  # bytes; libjpeg may work 2.5 ms on each ten, for 32 million pixels

# What Pillow says of a kind that it does not read; all else that it says is of broken files.
UNSUPPORTED_KIND = re.compile(
    r"unknown pixel mode|unknown data organization|not yet supported|cannot handle (12|2)-"
    r"|Invalid value for samples per pixel|Unsupported BMP bitfields"
    r"|Unsupported BMP header type \((16|64)\)|Unsupported BMP pixel depth \((0|2|64)\)"
    r"|Unsupported BMP compression \((4|5|11|12|13)\)"
)

# What Pillow says that tells a reader nothing.
CLEARER = {
    "not identified by this driver": "its header is not valid, or its width or height is 0",
    "decoder error -1": "its pixels are more than it has room for",
    "decoder error -2": "its pixels cannot be decoded",
    "decoder error -8": "its pixels are not as its header says",
    "decoder error -9": "it says that it has more pixels than can be",
    "cannot load this image": "it has no pixels",
    "no more images in TIFF file": "its directory is not where its header says",
}


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Return an image with its header read; its pixels are not decoded yet.

    Args:
        content: a file of one of `service.preprocessing.formats.FORMATS`; if it has several
            frames, the first is used.
        max_pixels: limit of width times height.

    Raises:
        InvalidInput: the bytes are not an image of a format or kind that is served.
        TooLarge: the image has more pixels than the limit, too many in a row or column, or takes
            too long to read.
    """
    if not content:
        raise InvalidInput(f"the image is empty: send a {SERVED} file")
    if (kind := format_of(content)) is None:
        raise _other_format(content)
    with translate_pillow_errors(content):
        image = _open(content, kind)
    width, height = image.size
    if max(width, height) > LONGEST_SIDE:
        raise TooLarge(
            f"the image has {width} x {height} pixels, {LONGEST_SIDE:,} are the limit of a side: "
            "send a smaller one"
        )
    if width * height > max_pixels:
        raise TooLarge(
            f"the image has {width} x {height} = {width * height:,} pixels, {max_pixels:,} are "
            "the limit: send a smaller one"
        )
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = JPEG_CHUNK_BYTES
    if isinstance(image, WebPImageFile):
        _free_canvases(image)
    if isinstance(image, TiffImageFile):
        width, height = image.tag_v2.get(TILEWIDTH, 0), image.tag_v2.get(TILELENGTH, 0)
        _check_tiles(width, height, max_pixels)
    if isinstance(image, SamplesTiff):
        _check_tiles(*image.samples.tile, max_pixels)
    if kind.name == "PNG" and (header := png_header(content)):
        if background := png_background(header):
            image.info[BACKGROUND] = background
        note_transparent_samples(image, header)
        if exponent := gamma_exponent(header):
            image.info[GAMMA_EXPONENT] = exponent
    return image


def load(image: Image.Image) -> Image.Image:
    """Return an opened image with its pixels decoded.

    Raises:
        Exception: it is broken or cut off; Pillow's decoders raise all kinds.
    """
    file = getattr(image, "fp", None)
    content = file.getvalue() if isinstance(file, TimeLimitedReader) else b""
    if COLOUR_OF_16_BITS in image.info:
        return load_with_transparent_colour(image, content)
    try:
        image.load()
    except OSError:
        if not isinstance(image, JpegImageFile):
            raise
        return load_without_end(image, content)
    return image


@contextmanager
def translate_pillow_errors(content: bytes = b"") -> Iterator[None]:
    """Raise Pillow's errors as errors for the client, who may see the file's damage first here."""
    image = f"the image ({len(content):,} bytes)" if content else "the image"
    try:
        yield
    except RequestError:
        raise
    except MemoryError as error:
        raise TooLarge(
            f"{image} takes more memory to decode than there is: send a smaller one"
        ) from error
    except Exception as error:  # on a broken file Pillow's decoders raise all kinds
        reason = CLEARER.get(str(error), str(error)) or type(error).__name__
        if "requires a buffer of" in reason:  # of the module struct
            reason = "it ends within its header"
        raise InvalidInput(f"{image} is broken or cut off: {reason}") from error


def _other_format(content: bytes) -> InvalidInput:
    image = f"the image ({len(content):,} bytes) is not a {SERVED} file"
    if other := unsupported_format_of(content):
        return InvalidInput(f"{image}, but {other.name}, which is not supported: {other.remedy}")
    return InvalidInput(image)


def _open(content: bytes, kind: Format) -> Image.Image:
    if kind.name == "PNG":
        content = without_metadata(content)
    if has_bit_fields(content):
        return BitFieldsBmp(TimeLimitedReader(content))
    if kind.name == "TIFF":
        directory = read_directory(content)
        if directory and (samples := read_samples(directory)):
            return SamplesTiff(content, directory, samples)
        if not is_known(content, directory):
            raise _unsupported(content, kind, "")
    try:
        return Image.open(TimeLimitedReader(content), formats=[kind.pillow])
    except (UnidentifiedImageError, OSError) as error:
        raise _reason(content, kind) from error


def _reason(content: bytes, kind: Format) -> Exception:
    """Return why Pillow does not open a file, which `Image.open` keeps to itself."""
    reader, _ = Image.OPEN[kind.pillow]
    try:
        reader(TimeLimitedReader(content), "").close()
    except RequestError as error:
        return error
    except Exception as error:
        if isinstance(error, KeyError) or UNSUPPORTED_KIND.search(str(error)):
            return _unsupported(content, kind, str(error))
        return error
    return OSError("its header is not valid")


def _unsupported(content: bytes, kind: Format, what: str) -> Exception:
    if kind.name == "TIFF":
        if (found := describe_tiff(content)) is None:
            return OSError(what)
        what = found
    return InvalidInput(
        f"the image is a {kind.name} of a kind that is not supported ({what}): save it as PNG"
    )


def _free_canvases(image: WebPImageFile) -> None:
    """Free an animation's two canvases, 8 bytes a pixel, after its first frame is decoded."""
    get_next = image._get_next

    def get_first() -> tuple[bytes, int, int]:
        frame = get_next()
        image._decoder = None
        return frame

    image._get_next = get_first  # type: ignore[method-assign]


def _check_tiles(width: object, height: object, max_pixels: int) -> None:
    """Check a TIFF's tiles against the limit: a tile may be larger than its image.

    Raises:
        InvalidInput: the size of the tiles is not a number.
        TooLarge: a tile has more pixels than the limit.
    """
    if not isinstance(width, int) or not isinstance(height, int):
        raise InvalidInput(f"the image is broken: its tiles are of {width} x {height}")
    if width * height > max_pixels:
        raise TooLarge(
            f"the image has tiles of {width} x {height} = {width * height:,} pixels, "
            f"{max_pixels:,} are the limit: save it with smaller ones"
        )
