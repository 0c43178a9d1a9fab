"""JPEG files that are broken, have wrong sizes, or take a decoder long (ITU-T T.81)."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

import struct
from functools import cache

from PIL import Image

from tests.hostile.cases import BROKEN, NO_PICTURE, TOO_LONG, UNSUPPORTED, Body, Case, picture
from tests.hostile.png import exif_that_overlaps
from tests.service.pictures import save

END = b"\xff\xd9"
COMMENT = b"\xff\xfe"
EMPTY_SCAN = b"\xff\xda\0\x08\x01\x01\0\x01\x3f\0"  # of the 63 high frequencies of one component


def jpeg(name: str, body: Body, status: int, says: str = "") -> Case:
    return picture(name, body, status, says, "image/jpeg")


def segment(marker: bytes, content: bytes) -> bytes:
    return marker + struct.pack(">H", len(content) + 2) + content


@cache
def good(mode: str = "L", side: int = 28, progressive: bool = False) -> bytes:
    return save(Image.new(mode, (side, side), 90), "JPEG", progressive=progressive)


def with_segments(*segments: bytes) -> bytes:
    return good()[:2] + b"".join(segments) + good()[2:]


def frame(*, depth: int = 8, height: int = 28, width: int = 28, marker: int = 0xC0) -> bytes:
    """A JPEG with a changed start of frame."""
    place = good().index(b"\xff\xc0")
    changed = struct.pack(">BBHBHH", 0xFF, marker, 11, depth, height, width)
    return good()[:place] + changed + good()[place + 9 :]


def replaced(old: bytes, new: bytes) -> bytes:
    assert old in good()
    return good().replace(old, new, 1)


def without(marker: bytes) -> bytes:
    """A JPEG without its first segment of a kind."""
    place = good().index(marker)
    (length,) = struct.unpack_from(">H", good(), place + 2)
    return good()[:place] + good()[place + 2 + length :]


def exif_in_pieces() -> bytes:
    exif = exif_that_overlaps()
    pieces = (exif[start : start + 65_000] for start in range(0, len(exif), 65_000))
    return b"".join(segment(b"\xff\xe1", b"Exif\0\0" + piece) for piece in pieces)


SCAN = good().index(b"\xff\xda")

CUT_OFF = [
    *(jpeg(f"JPEG of its first {keep} bytes", good()[:keep], 400, says) for keep, says in ((2, NO_PICTURE), (3, BROKEN), (20, BROKEN), (100, BROKEN), (SCAN, BROKEN), (SCAN + 4, BROKEN), (SCAN + 12, BROKEN))),
    jpeg("JPEG without its end", good("L", 200)[: len(good("L", 200)) // 2 + 200], 400, BROKEN),
    jpeg("JPEG, progressive, cut off in a scan", good("RGB", 200, True)[:-40], 400, BROKEN),
]

FRAMES = [
    jpeg("JPEG of width 0", frame(width=0), 400, BROKEN),
    jpeg("JPEG of height 0", frame(height=0), 400, BROKEN),
    jpeg("JPEG of 65,535 x 65,535", frame(width=65535, height=65535), 413, "4,294,836,225 pixels"),
    jpeg("JPEG of 65,535 x 977", frame(width=65535, height=977), 413, "64,027,695 pixels"),
    jpeg("JPEG of the most pixels, without them", frame(width=65535, height=976), 400, BROKEN),
    jpeg("JPEG of 12 bits", frame(depth=12), 400, UNSUPPORTED),
    jpeg("JPEG of 0 bits", frame(depth=0), 400, BROKEN),
    *(jpeg(f"JPEG of process {marker:X}", frame(marker=marker), 400, BROKEN) for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCF)),
    jpeg("JPEG of a process without a scan for it", frame(marker=0xC2), 400, BROKEN),
    jpeg("JPEG of no component", replaced(b"\0\x1c\0\x1c\x01", b"\0\x1c\0\x1c\0"), 400, BROKEN),
    jpeg("JPEG of 2 components", replaced(b"\0\x1c\0\x1c\x01", b"\0\x1c\0\x1c\x02"), 400, UNSUPPORTED),
    jpeg("JPEG of 255 components", replaced(b"\0\x1c\0\x1c\x01", b"\0\x1c\0\x1c\xff"), 400, BROKEN),
    jpeg("JPEG sampled 0 times", replaced(b"\x01\x01\x11", b"\x01\x01\0"), 400, BROKEN),
    jpeg("JPEG sampled 15 times", replaced(b"\x01\x01\x11", b"\x01\x01\xff"), 400, BROKEN),
]

TABLES = [
    jpeg("JPEG without Huffman tables", without(b"\xff\xc4").replace(b"\xff\xc4", b"\xff\xfe"), 200),
    jpeg("JPEG without a quantisation table", without(b"\xff\xdb"), 400, BROKEN),
    jpeg("JPEG with a Huffman table of 4,080 codes", with_segments(segment(b"\xff\xc4", b"\0" + b"\xff" * 16 + bytes(4080))), 400, BROKEN),
    jpeg("JPEG with a Huffman table for slot 15", with_segments(segment(b"\xff\xc4", b"\x0f" + bytes(16))), 400, BROKEN),
    jpeg("JPEG with codes that are no tree", with_segments(segment(b"\xff\xc4", b"\0\xff" + bytes(15) + bytes(255))), 200),
    jpeg("JPEG with a quantisation table for slot 15", with_segments(segment(b"\xff\xdb", b"\x0f" + bytes(64))), 400, BROKEN),
    jpeg("JPEG with a quantisation table of 3 bytes", with_segments(segment(b"\xff\xdb", b"\0\1\1")), 400, BROKEN),
    jpeg("JPEG with a scan of a component that is not there", good()[:SCAN] + good()[SCAN:].replace(b"\0\x08\x01\x01", b"\0\x08\x01\x09", 1), 400, BROKEN),
    jpeg("JPEG with a scan of five components", good()[:SCAN] + b"\xff\xda\0\x10\x05" + bytes(13) + END, 400, BROKEN),
    jpeg("JPEG whose pixels are noise", good()[: SCAN + 10] + bytes(range(255)) * 3 + END, 200),
]

SEGMENTS = [
    jpeg("JPEG with a segment of length 0", with_segments(b"\xff\xfe\0\0"), 200),
    jpeg("JPEG with a segment of length 1", with_segments(b"\xff\xfe\0\1"), 200),
    jpeg("JPEG with a segment beyond its end", with_segments(b"\xff\xfe\xff\xff"), 400, BROKEN),
    jpeg("JPEG with a million empty comments, and no more", lambda: good()[:2] + b"\xff\xfe\0\2" * 1_000_000, 413, TOO_LONG),
    jpeg("JPEG of 3 MB of padding", lambda: b"\xff\xd8" + b"\xff" * 3_000_000, 413, TOO_LONG),
    jpeg("JPEG with two starts", b"\xff\xd8" + good(), 400, BROKEN),
    jpeg("JPEG with two starts of frame", with_segments(segment(b"\xff\xc0", b"\x08\xff\xff\xff\xff\x01\x01\x11\0")), 400, BROKEN),
    jpeg("JPEG with a colour profile in pieces that do not fit", with_segments(segment(b"\xff\xe2", b"ICC_PROFILE\0\x05\x09abc")), 200),
    jpeg("JPEG with a broken Photoshop block", with_segments(segment(b"\xff\xed", b"Photoshop 3.0\x008BIM\x04\x04\xff")), 200),
    jpeg("JPEG with a broken Adobe segment", with_segments(segment(b"\xff\xee", b"Adobe")), 400, BROKEN),
    jpeg("JPEG with a broken JFIF segment", with_segments(segment(b"\xff\xe0", b"JFIF\0")), 400, BROKEN),
    jpeg("JPEG with a film of 65,535 pictures", with_segments(segment(b"\xff\xe2", b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\4\0\1\0\0\0\xff\xff\0\0" + bytes(4))), 200),
    jpeg("JPEG with a film whose index is broken", with_segments(segment(b"\xff\xe2", b"MPF\0" + b"\xff" * 40)), 200),
]

EXIF = [
    jpeg("JPEG with EXIF that overlaps itself", lambda: with_segments(exif_in_pieces()), 200),
    jpeg("JPEG with EXIF that points to itself", with_segments(segment(b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0")), 200),
    jpeg("JPEG with EXIF of 65,535 entries", with_segments(segment(b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\xff\xff")), 200),
    jpeg("JPEG with an orientation of 99", with_segments(segment(b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0\0\0" + bytes(4))), 200),
    jpeg("JPEG with a resolution of 0 / 0", with_segments(segment(b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\1\0\x1a\1\5\0\1\0\0\0\x1a\0\0\0" + bytes(12))), 200),
]

BUSY = [
    jpeg("JPEG of a million empty scans", lambda: good("L", 5656, True)[:-2] + EMPTY_SCAN * 980_000 + END, 413, TOO_LONG),
    jpeg("JPEG of 100 empty scans", good("L", 200, True)[:-2] + EMPTY_SCAN * 100 + END, 200),
    jpeg("JPEG of 32 million pixels, progressive", lambda: good("RGB", 5656, True), 200),
    jpeg("JPEG in CMYK", good("CMYK"), 200),
]

CASES: list[Case] = [*CUT_OFF, *FRAMES, *TABLES, *SEGMENTS, *EXIF, *BUSY]
