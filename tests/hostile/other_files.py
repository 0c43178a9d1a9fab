"""Files of formats that are not served, and files that are valid in two formats."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

import io
import pickle
import zipfile
from functools import cache

from PIL import Image

from service.preprocessing.formats import format_of
from tests.hostile.cases import BROKEN, NO_PICTURE, TIFF, Case, picture
from tests.hostile.png import GOOD as PNG
from tests.service.pictures import save


def in_format(kind: str, mode: str = "RGB") -> bytes:
    return save(Image.new(mode, (28, 28), 90), kind)


@cache
def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("../../etc/passwd", b"x")
    return file.getvalue()


class Command:
    """Unpickling one would run a command (CVE-2024-2912, CVE-2025-27520, CVE-2025-32375)."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("open('pwned', 'w')",))


# Pillow has readers of the first group, which must not run.
UNSERVED = {
    "ICO": in_format("ICO"),
    "ICNS": b"icns\0\0\0\x10ic07\0\0\0\x08",
    "TGA": in_format("TGA"),
    "PPM": in_format("PPM"),
    "PCX": in_format("PCX"),
    "SGI": in_format("SGI"),
    "DDS": in_format("DDS", "RGBA"),
    "DIB": in_format("DIB"),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\nshowpage\n",
    "PDF": in_format("PDF"),
    "JPEG 2000": in_format("JPEG2000"),
    "MSP": in_format("MSP", "1"),
    "SPIDER": in_format("SPIDER", "F"),
    "XBM": in_format("XBM", "1"),
    "QOI": b"qoif\0\0\0\x1c\0\0\0\x1c\3\0" + bytes(20),
    "AVIF": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B" + bytes(100),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x1c\0\0\0\x1c\0\x08\0\3" + bytes(100),
    "FITS": b"SIMPLE  =                    T" + b" " * 2850,
    "FLI": b"\x80\0\0\0\x11\xaf" + bytes(122),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(80),
    "GRIB": b"GRIB\0\0\0\1" + bytes(80),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(80),
    "MPEG": b"\0\0\1\xb3\1\xc0\x1c" + bytes(80),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "SVG with an entity bomb": b'<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
    "HTML": b"<html><img src=x onerror=alert(1)></html>",
    "ZIP": archive(),
    "gzip": b"\x1f\x8b\x08" + bytes(40),
    "an executable": b"\x7fELF\2\1\1" + bytes(100),
    "a script": b"#!/bin/sh\nrm -rf /\n",
    "a pickle": pickle.dumps(Command()),
    "NumPy's": b"\x93NUMPY\1\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + bytes(60),
    "safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
    "an ONNX model": b"\x08\x08\x12\x07pytorch" + bytes(60),
    "base64": b"iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAA",
    "a data URL": b"data:image/png;base64,iVBORw0KGgo=",
    "JSON": b'{"image": "x"}',
    "zeros": bytes(100_000),
    "one zero": b"\0",
    "spaces": b" " * 100,
    "a byte order mark": b"\xef\xbb\xbf" + PNG,
    "UTF-16": "a picture".encode("utf-16"),
    "a picture behind a line break": b"\r\n" + PNG,
}

ADDRESSES = [
    "http://127.0.0.1/secret.png",
    "https://example.com/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "ftp://127.0.0.1/a.png",
    "gopher://127.0.0.1:6379/_INFO",
    "//example.com/a.png",
    "/etc/passwd",
    "../../../../etc/passwd",
    "C:\\Windows\\win.ini",
    "\\\\server\\share\\a.png",
    "jar:http://127.0.0.1/a.zip!/a.png",
]

# Of two formats, what stands first decides; what follows a picture is no part of it.
POLYGLOTS = [
    picture("PNG that is a ZIP too", PNG + archive(), 200),
    picture("PNG that is a script too", PNG + b"<script>alert(1)</script>", 200),
    picture("PNG that is a pickle too", PNG + pickle.dumps(Command()), 200),
    picture("PNG twice", PNG + PNG, 200),
    picture("GIF that is JavaScript too", b"GIF89a=1;/*" + bytes(40) + b"*/alert(1)", 400, BROKEN),
    picture("BMP that is text", b"BM, a letter", 400, BROKEN),
    picture("JPEG that is a PNG", b"\xff\xd8\xff" + PNG, 400, BROKEN),
    picture("PNG that is a JPEG", PNG[:8] + in_format("JPEG"), 400, BROKEN),
]

MISLABELLED = [
    picture(f"{kind} called {media}", in_format(kind, "L"), 200, "", media)
    for kind, media in (
        *(("PNG", "image/jpeg"), ("JPEG", "image/png"), ("GIF", TIFF), ("TIFF", "image/webp")),
        *(("BMP", "image/gif"), ("WEBP", "image/bmp")),
    )
]

CASES: list[Case] = [
    picture("nothing", b"", 400, "the image is empty"),
    *(picture(f"{name} in place of a picture", body, 400, NO_PICTURE) for name, body in UNSERVED.items() if format_of(body) is None),
    *(picture(f"{url} in place of a picture", url.encode(), 400, NO_PICTURE) for url in ADDRESSES),
    *POLYGLOTS,
    *MISLABELLED,
]
