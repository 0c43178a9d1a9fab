"""One picture as files of every kind that its format has: depths, byte orders, alpha, checksums.

The files are written here, since no library writes all of these kinds.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.hostile.png import SIGNATURE, chunk, text_bomb, wrong_crc
from tests.service.pictures import save

WIDTH, HEIGHT = 40, 30
Values = NDArray[np.float64]


def picture(channels: int) -> Values:
    """A picture (H, W, C) in [0, 1]; the fourth channel, or the second of two, is no alpha yet."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = [
        (np.sin(columns / 5 + one) * np.cos(rows / 7 - one) + 1) / 2 for one in range(channels)
    ]
    return np.dstack(waves)


def alpha() -> Values:
    """Transparency (H, W, 1) that grows from left to right, with all and nothing at the ends."""
    ramp = np.clip(np.arange(WIDTH) / (WIDTH - 10) - 0.1, 0, 1)
    return np.tile(ramp, (HEIGHT, 1))[..., None]


def every_file() -> dict[str, bytes]:
    """All files by their names."""
    makers = (_png, _tiff, _bmp, _jpeg, _others)
    return {name: content for maker in makers for name, content in maker()}


# PNG: W3C, PNG, third edition, section 11.

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8)}
DEPTHS |= {GREY_ALPHA: (8, 16), RGBA: (8, 16)}


def _png() -> Iterator[tuple[str, bytes]]:
    for colour, depths in DEPTHS.items():
        for depth, background in product(depths, (False, True)):
            name = f"png-type{colour}-{depth}bit{'-bkgd' if background else ''}"
            yield f"{name}.png", png(colour, depth, background=background)
            if colour in (GREY, RGB, PALETTE):
                yield f"{name}-trns.png", png(colour, depth, background=background, trns=True)
    good = png(RGB, 8, extra=[*_metadata()])
    yield "png-metadata.png", good
    for name in (b"pHYs", b"gAMA", b"tEXt", b"iCCP", b"tIME"):
        yield f"png-wrong-checksum-{name.decode()}.png", wrong_crc(good, name)
    for name in (b"zTXt", b"iTXt", b"iCCP"):
        yield f"png-much-{name.decode()}.png", png(RGB, 8, extra=[text_bomb(name, 1_500_000)])
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    yield "png-linear.png", png(RGB, 8, extra=[linear])
    yield "png-linear-srgb.png", png(RGB, 8, extra=[linear, chunk(b"sRGB", b"\0")])


def _metadata() -> Iterator[bytes]:
    yield chunk(b"gAMA", struct.pack(">I", 45_455))
    yield chunk(b"iCCP", b"none\0\0" + zlib.compress(b"no profile"))
    yield chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
    yield chunk(b"tEXt", b"Comment\0nothing")
    yield chunk(b"tIME", struct.pack(">HBBBBB", 2020, 1, 1, 0, 0, 0))


def png(
    colour: int,
    depth: int,
    *,
    background: bool = False,
    trns: bool = False,
    extra: Sequence[bytes] = (),
) -> bytes:
    """A PNG of a colour type and depth."""
    most = 2**depth - 1
    values = picture(CHANNELS[colour])
    if colour in (GREY_ALPHA, RGBA):
        values[..., -1:] = alpha()
    samples = np.rint(values * most).astype(np.uint32)  # (H, W, C)
    samples[:, :8] = samples[0, 0]  # what may be transparent
    if depth == 16 and colour == RGB:
        samples[:, 4:8] += 1  # not the same in its lower byte
    middle = list(extra)
    palette = np.stack([np.arange(most + 1) * 255 // most] * 3, 1) if colour == PALETTE else None
    if palette is not None:
        palette[:, 1] = 255 - palette[:, 0]
        middle.append(chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    first = samples[0, 0].tolist()
    if trns:
        entries = bytes(255 if one != first[0] else 80 for one in range(most + 1))
        colours = struct.pack(f">{len(first)}H", *first)
        middle.append(chunk(b"tRNS", entries if colour == PALETTE else colours))
    if background:
        count = 3 if colour in (RGB, RGBA) else 1
        colours = struct.pack(f">{count}H", *[most // 3] * count)
        middle.append(chunk(b"bKGD", b"\0" if colour == PALETTE else colours))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + packed_row(row.reshape(-1), depth) for row in samples)
    data = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(middle) + data + chunk(b"IEND")


def packed_row(row: NDArray[np.uint32], bits: int, order: str = ">") -> bytes:
    """The bytes of a row of samples; of fewer than 8 bits or 12 the highest comes first."""
    if bits % 8 == 0:
        return row.astype(f"{order}u{bits // 8}").tobytes()
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    return np.packbits((row[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


# TIFF: TIFF, revision 6.0; technical notes 1 and 3; BigTIFF.

WHITE_IS_ZERO, BLACK_IS_ZERO, TIFF_RGB, CMYK = 0, 1, 2, 5
UNSIGNED, SIGNED, FLOATING = 1, 2, 3
NONE, ASSOCIATED, UNASSOCIATED = -1, 1, 2
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, TIFF_RGB: 3, CMYK: 4}


def _tiff() -> Iterator[tuple[str, bytes]]:
    whole = [(UNSIGNED, bits) for bits in (1, 2, 4, 8, 12, 16, 32)]
    floating = [(FLOATING, bits) for bits in (16, 32, 64)]
    for photometric, (kind, bits), order in product((0, 1), whole + floating, "<>"):
        yield _named(photometric, kind, bits, order)
    for photometric, (kind, bits), order, extra in product(
        (BLACK_IS_ZERO, TIFF_RGB, CMYK),
        [(UNSIGNED, 8), (UNSIGNED, 16), (FLOATING, 32)],
        "<>",
        (NONE, 0, ASSOCIATED, UNASSOCIATED),
    ):
        if (photometric, extra) != (BLACK_IS_ZERO, NONE):
            yield _named(photometric, kind, bits, order, extra=extra)
    for bits, order, tile, big in product((8, 16), "<>", (False, True), (False, True)):
        for photometric in (BLACK_IS_ZERO, TIFF_RGB):
            yield _named(
                photometric, UNSIGNED, bits, order, deflated=True, predictor=2, tile=tile, big=big
            )
    for bits, order in product((16, 32, 64), "<>"):
        yield _named(TIFF_RGB, FLOATING, bits, order, deflated=True, predictor=3)


def _named(
    photometric: int,
    kind: int,
    bits: int,
    order: str,
    *,
    extra: int = NONE,
    deflated: bool = False,
    predictor: int = 1,
    tile: bool = False,
    big: bool = False,
) -> tuple[str, bytes]:
    name = f"tiff-{photometric}-{'_uif'[kind]}{bits}-{'little' if order == '<' else 'big'}"
    name += f"-extra{extra}" * (extra != NONE) + "-tiles" * tile + "-bigtiff" * big
    name += f"-predictor{predictor}" * (predictor > 1)
    values = picture(COLOURS[photometric])  # (H, W, C)
    if extra != NONE:
        opaque = alpha()
        values = np.dstack([values * opaque if extra == ASSOCIATED else values, opaque])
    if photometric == WHITE_IS_ZERO:
        values = 1 - values
    tags = {262: photometric, 277: values.shape[2], 258: bits, 339: kind}
    if extra != NONE:
        tags[338] = extra
    return f"{name}.tif", tiff(values, tags, order, deflated, predictor, tile=tile, big=big)


def tiff(
    values: Values,
    tags: dict[int, int],
    order: str,
    deflated: bool,
    predictor: int,
    *,
    tile: bool = False,
    big: bool = False,
) -> bytes:
    """A TIFF of samples (H, W, C) in [0, 1]; the tags say of which kind."""
    kind, bits = tags[339], tags[258]
    boxes = [(slice(top, top + 16), slice(0, WIDTH)) for top in range(0, HEIGHT, 16)]
    if tile:
        boxes = [
            (slice(top, top + 16), slice(left, left + 32))
            for top, left in product(range(0, HEIGHT, 16), range(0, WIDTH, 32))
        ]
    pieces = []
    for rows, columns in boxes:
        piece = values[rows, columns]
        if tile:
            piece = np.pad(piece, ((0, 16 - len(piece)), (0, 32 - piece.shape[1]), (0, 0)), "edge")
        packed = b"".join(_tiff_row(row, kind, bits, order, predictor) for row in piece)
        pieces.append(zlib.compress(packed) if deflated else packed)
    tags = {**tags, 256: WIDTH, 257: HEIGHT, 259: 8 if deflated else 1, 317: predictor}
    tags |= {322: 32, 323: 16} if tile else {278: 16}
    return _tiff_file(tags, pieces, (324, 325) if tile else (273, 279), order, big)


def _tiff_row(row: Values, kind: int, bits: int, order: str, predictor: int) -> bytes:
    if kind == FLOATING:
        samples = row.astype(f"{order}f{bits // 8}")  # (W, C)
        if predictor == 1:
            return samples.tobytes()
        planes = samples.astype(f">f{bits // 8}")[..., None].view(np.uint8)  # (W, C, bytes)
        flat = planes.transpose(2, 0, 1).reshape(-1, row.shape[1])  # (bytes W, C)
        return np.diff(flat, axis=0, prepend=np.zeros_like(flat[:1])).astype(np.uint8).tobytes()
    whole = np.rint(row * (2.0**bits - 1)).astype(np.uint32)  # (W, C)
    if predictor == 2:
        whole = np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1])) & (2**bits - 1)
    return packed_row(whole.reshape(-1), bits, order)


def _tiff_file(
    tags: dict[int, int], pieces: list[bytes], places: tuple[int, int], order: str, big: bool
) -> bytes:
    head = 16 if big else 8
    offsets, place = [], head
    for piece in pieces:
        offsets.append(place)
        place += len(piece)
    values: dict[int, list[int]] = {tag: [value] for tag, value in tags.items()}
    values[258] = [tags[258]] * tags[277]
    values[339] = [tags[339]] * tags[277]
    values |= {places[0]: offsets, places[1]: [len(piece) for piece in pieces]}
    word, entry = ("Q", "HHQ") if big else ("I", "HHI")
    size = struct.calcsize(word)
    start = place
    behind = start + (8 if big else 2) + len(values) * (struct.calcsize("<" + entry) + size) + size
    entries, tail = b"", b""
    for tag, found in sorted(values.items()):
        packed = struct.pack(f"{order}{len(found)}I", *found)
        entries += struct.pack(order + entry, tag, 4, len(found))
        if len(packed) <= size:
            entries += packed.ljust(size, b"\0")
        else:
            entries += struct.pack(order + word, behind + len(tail))
            tail += packed
    mark = b"II" if order == "<" else b"MM"
    header = mark + (
        struct.pack(order + "HHHQ", 43, 8, 0, start)
        if big
        else struct.pack(order + "HI", 42, start)
    )
    count = struct.pack(order + ("Q" if big else "H"), len(values))
    return header + b"".join(pieces) + count + entries + bytes(size) + tail


# BMP: Microsoft, BITMAPINFOHEADER to BITMAPV5HEADER.

LAYOUTS = {
    "565": (16, (0xF800, 0x07E0, 0x001F, 0)),
    "555": (16, (0x7C00, 0x03E0, 0x001F, 0)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "bgra": (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)),
    "abgr": (32, (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF)),
    "rgbx": (32, (0x000000FF, 0x0000FF00, 0x00FF0000, 0)),
    "gbr": (32, (0x0000FF00, 0xFF000000, 0x00FF0000, 0)),
    "10-10-10": (32, (0x3FF00000, 0x000FFC00, 0x000003FF, 0)),
    "11-11-10": (32, (0xFFE00000, 0x001FFC00, 0x000003FF, 0)),
}


def _bmp() -> Iterator[tuple[str, bytes]]:
    for name, (bits, masks) in LAYOUTS.items():
        for down in (False, True):
            way = "-from-the-top" if down else ""
            yield f"bmp-{name}{way}.bmp", bit_fields(bits, masks, down=down)
    grey = Image.fromarray(np.rint(picture(1)[..., 0] * 255).astype(np.uint8))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"bmp-{mode}.bmp", save(grey.convert(mode), "BMP")


def bit_fields(bits: int, masks: tuple[int, int, int, int], *, down: bool = False) -> bytes:
    """A BMP whose channels lie under masks: red, green, blue, and alpha if its mask is not 0."""
    values = np.dstack([picture(3), alpha()])  # (H, W, 4)
    packed = np.zeros((HEIGHT, WIDTH), np.uint64)
    for channel, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            field = np.rint(values[..., channel] * (mask >> shift)).astype(np.uint64)
            packed |= field << np.uint64(shift)
    if not down:
        packed = packed[::-1]
    data = packed.astype(f"<u{bits // 8}").tobytes()  # 40 pixels need no padding
    size = 108 if masks[3] else 40
    extra = struct.pack("<3I", *masks[:3])
    if masks[3]:
        extra = struct.pack("<4I4s", *masks, b"BGRs") + bytes(48)
    start = 54 + len(extra)
    fields = (size, WIDTH, -HEIGHT if down else HEIGHT, 1, bits, 3, len(data), 0, 0, 0, 0)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    return head + struct.pack("<IiiHHIIiiII", *fields) + extra + data


def _jpeg() -> Iterator[tuple[str, bytes]]:
    colours = Image.fromarray(np.rint(picture(3) * 255).astype(np.uint8))
    for mode, progressive in product(("L", "RGB", "CMYK"), (False, True)):
        content = save(colours.convert(mode), "JPEG", quality=95, progressive=progressive)
        name = f"jpeg-{mode}{'-progressive' if progressive else ''}"
        yield f"{name}.jpg", content
        yield f"{name}-without-end.jpg", content.removesuffix(b"\xff\xd9")


def _others() -> Iterator[tuple[str, bytes]]:
    values = np.dstack([picture(3), alpha()])
    colours = Image.fromarray(np.rint(values * 255).astype(np.uint8))
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield f"webp-{mode}.webp", save(colours.convert(mode), "WEBP", lossless=True)
        yield f"avif-{mode}.avif", save(colours.convert(mode), "AVIF", quality=95)
        yield f"gif-{mode}.gif", save(colours.convert(mode), "GIF")
