"""A JPEG without its end marker, which everybody shows if its pixels are all there.

Source: ITU-T T.81, section B.1.1.3 (EOI). Pillow refuses such a file as it does one that is cut off
within its pixels. The two differ: where pixels are missing, the decoder makes them of what follows.
"""

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from service.preprocessing.time_limited_reader import TimeLimitedReader

END = b"\xff\xd9"
# Two sequels that no decoder makes the same pixels of.
SEQUELS = (END, b"\xaa" * 4096 + END)

MISSING = "the file ends before its last pixel"


def load_without_end(image: JpegImageFile, content: bytes) -> Image.Image:
    """Return a JPEG's pixels if it lacks nothing but its end marker.

    Args:
        image: opened, and perhaps drafted; Pillow found it cut off.
        content: the file.

    Raises:
        OSError: pixels are missing.
    """
    try:
        found = [_load(content + sequel, image) for sequel in SEQUELS]
    except OSError as error:
        raise OSError(MISSING) from error
    if found[0].tobytes() != found[1].tobytes():
        raise OSError(MISSING)
    return found[0]


def _load(content: bytes, like: JpegImageFile) -> Image.Image:
    image = JpegImageFile(TimeLimitedReader(content))
    image.decodermaxblock = like.decodermaxblock
    image.draft(None, like.size)
    image.load()
    image.info = like.info
    return image
