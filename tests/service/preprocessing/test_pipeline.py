"""Every file becomes 28 x 28 in 8-bit grey, or is rejected with a reason."""

import re
import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidInput, RequestError, TooLarge
from service.preprocessing.formats import FORMATS, SERVED
from service.preprocessing.opening import open_image
from service.preprocessing.pipeline import UNCHANGED, Mode
from tests.hostile.tiff import tiles
from tests.service.pictures import (
    ORIENTATIONS,
    encode,
    in_mode,
    png_header,
    png_with_16_bits_a_channel,
    preprocess,
    read_image,
    save,
    turned,
    with_png_chunk,
)

LIMIT = 32_000_000
READERS = [one.pillow for one in FORMATS]

LOSSLESS = [
    *(("PNG", mode) for mode in ("L", "P", "RGB", "RGBA", "LA", "I;16")),
    *(("BMP", mode) for mode in ("L", "P", "RGB", "RGBA")),
    *(("GIF", mode) for mode in ("L", "P", "RGB")),
    *(("TIFF", mode) for mode in ("L", "P", "PA", "RGB", "RGBA", "LA", "CMYK", "YCbCr")),
    *(("TIFF", mode) for mode in ("I;16", "I;16B", "I", "F")),
]


def read(content: bytes) -> NDArray[np.uint8]:
    image = read_image(content, LIMIT)
    assert (image.shape, image.dtype) == ((28, 28), np.uint8)
    return image


@cache
def garment() -> NDArray[np.uint8]:
    """Something of every brightness, the same for every example that hypothesis makes."""
    rows, columns = np.mgrid[:28, :28]
    inside = (np.abs(rows - 13.5) < 10) & (np.abs(columns - 13.5) < 7)
    return ((rows * 28 + columns) % 256 * inside).astype(np.uint8)


@pytest.mark.parametrize(("kind", "mode"), LOSSLESS)
def test_grey_of_the_right_size_is_taken_as_it_is(
    kind: str, mode: str, ankle_boot: NDArray[np.uint8]
) -> None:
    np.testing.assert_array_equal(read(encode(ankle_boot, kind, mode)), ankle_boot)


def test_lossless_webp_is_taken_as_it_is(ankle_boot: NDArray[np.uint8]) -> None:
    for mode in ("L", "RGB", "RGBA"):
        content = encode(ankle_boot, "WEBP", mode, lossless=True)
        np.testing.assert_array_equal(read(content), ankle_boot)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_black_and_white_is_taken_as_it_is(kind: str, ankle_boot: NDArray[np.uint8]) -> None:
    silhouette = np.where(ankle_boot > 100, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(read(encode(silhouette, kind, "1")), silhouette)


@pytest.mark.parametrize("colours", [2, 3, 4])
def test_png_of_16_bits_a_channel_is_taken_as_it_is(
    colours: int, ankle_boot: NDArray[np.uint8]
) -> None:
    np.testing.assert_array_equal(read(png_with_16_bits_a_channel(ankle_boot, colours)), ankle_boot)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_is_taken_as_it_is(compression: str, ankle_boot: NDArray[np.uint8]) -> None:
    content = encode(ankle_boot, "TIFF", compression=compression)
    np.testing.assert_array_equal(read(content), ankle_boot)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "L"), ("WEBP", "RGB")],
)
def test_lossy_grey_is_taken_as_it_is_but_for_the_loss(
    kind: str, mode: str, ankle_boot: NDArray[np.uint8]
) -> None:
    found = read(encode(ankle_boot, kind, mode, quality=90)).astype(int)
    assert np.abs(found - ankle_boot).mean() < 3  # through the pipeline of photographs it is 20


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_counts(kind: str, ankle_boot: NDArray[np.uint8]) -> None:
    others = [Image.fromarray(255 - ankle_boot), Image.fromarray(ankle_boot.T.copy())]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(ankle_boot, kind, save_all=True, append_images=others, **options)
    np.testing.assert_array_equal(read(content), ankle_boot)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_picture_is_seen_upright(
    kind: str, orientation: int, ankle_boot: NDArray[np.uint8]
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    content = turned(Image.fromarray(ankle_boot), orientation, kind, **options)
    np.testing.assert_array_equal(read(content), ankle_boot)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_is_seen_upright(orientation: int, ankle_boot: NDArray[np.uint8]) -> None:
    content = turned(Image.fromarray(ankle_boot), orientation, "JPEG", quality=95)
    assert np.abs(read(content).astype(int) - ankle_boot).mean() < 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, from its reader of JPEG
@pytest.mark.parametrize("size", [(28, 28), (40, 300)])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM\0\x80\0\0\0\x08",  # not the number 42 that a TIFF header has
        b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01",  # cut off in its first entry
        b"Exif\0\0",
        b"Exif\0\0" + b"\xff" * 64,
    ],
)
def test_broken_exif_data_does_not_break_the_picture(size: tuple[int, int], exif: bytes) -> None:
    image = Image.fromarray(garment()).resize(size)
    plain = read(save(image, "JPEG", quality=95))
    np.testing.assert_array_equal(read(save(image, "JPEG", quality=95, exif=exif)), plain)


def test_transparency_lets_a_white_page_through(ankle_boot: NDArray[np.uint8]) -> None:
    garment = Image.fromarray(255 - ankle_boot).convert("RGBA")
    garment.putalpha(Image.fromarray(ankle_boot).point(lambda value: 255 * (value > 0)))
    page = Image.new("RGBA", garment.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(page, garment).convert("RGB").resize((60, 60))
    found = read(save(garment.resize((60, 60), Image.Resampling.BILINEAR), "PNG")).astype(int)
    assert np.abs(found - read(save(flat, "PNG"))).mean() < 20  # its outline is the alpha's


def test_a_png_lets_its_own_background_through() -> None:
    transparent = Image.new("LA", (28, 28), (255, 0))
    for grey in (0, 90, 255):
        content = with_png_chunk(save(transparent, "PNG"), b"bKGD", bytes([0, grey]))
        seen = preprocess(open_image(content, LIMIT), "raw")
        assert set(seen.pixels.flat) == {grey}
    assert set(read_image(save(transparent, "PNG"), LIMIT, "raw").flat) == {255}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_other_formats_let_a_white_page_through(kind: str) -> None:
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    image.paste((40, 40, 40, 255), (20, 20, 40, 40))
    seen = preprocess(open_image(save(image, kind), LIMIT))
    assert seen.preprocessing == {"mode": "photo", "negated": True, "trimmed": True}
    assert seen.pixels == pytest.approx(215, abs=3)


def test_cmyk_of_a_jpeg_is_ink_and_not_light() -> None:
    """Adobe's programs store it inverted, with a marker, and so does Pillow."""
    ink = Image.new("CMYK", (100, 100), (0, 0, 0, 0))
    ink.paste((0, 255, 255, 0), (30, 30, 70, 70))  # red, on paper
    content = save(ink, "JPEG", quality=95)
    assert b"Adobe" in content
    seen = preprocess(open_image(content, LIMIT))
    assert seen.preprocessing == {"mode": "photo", "negated": True, "trimmed": True}
    assert seen.pixels[4:24, 4:24] == pytest.approx(255 - 76, abs=4)  # red's brightness is 76


@pytest.mark.parametrize("mode", ["photo", "raw"])
def test_a_large_jpeg_is_seen_as_the_same_picture_without_loss_is(
    mode: Mode, ankle_boot: NDArray[np.uint8]
) -> None:
    large = 255 - ankle_boot.repeat(60, 0).repeat(80, 1)  # (1680, 2240)
    exact = preprocess(open_image(encode(large, "BMP"), LIMIT), mode)
    image = open_image(encode(large, "JPEG", quality=95), LIMIT)
    found = preprocess(image, mode)
    assert image.width < 2240  # it was never decoded whole
    assert found.preprocessing == exact.preprocessing
    assert np.abs(found.pixels.astype(int) - exact.pixels).max() <= 12


def coloured(pixels: NDArray[np.uint8]) -> bytes:
    red = np.dstack([pixels, pixels // 2, pixels // 2])
    return save(Image.fromarray(red), "PNG")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("grey", UNCHANGED),
        ("grey on white", UNCHANGED),
        ("larger", {"mode": "photo", "negated": True, "trimmed": True}),
        ("larger on white", {"mode": "photo", "negated": True, "trimmed": True}),
        ("coloured", {"mode": "photo", "negated": True, "trimmed": True}),
        ("flush", {"mode": "photo", "negated": True, "trimmed": False}),
    ],
)
def test_what_was_done_is_told(shown: str, expected: dict[str, object]) -> None:
    files = {
        "grey": encode(garment()),
        "grey on white": encode(255 - garment()),
        "larger": encode(garment().repeat(5, 0).repeat(5, 1)),
        "larger on white": encode(255 - garment().repeat(5, 0).repeat(5, 1)),
        "coloured": coloured(garment()),
        "flush": encode(np.full((90, 90), 60, np.uint8)),
    }
    assert preprocess(open_image(files[shown], LIMIT)).preprocessing == expected


def test_raw_takes_a_light_page_as_it_is(ankle_boot: NDArray[np.uint8]) -> None:
    for pixels in (ankle_boot, 255 - ankle_boot):
        np.testing.assert_array_equal(read_image(encode(pixels), LIMIT, "raw"), pixels)


def test_raw_squeezes_without_trimming(ankle_boot: NDArray[np.uint8]) -> None:
    wide = ankle_boot.repeat(20, 0).repeat(30, 1)  # (560, 840)
    image, preprocessing = preprocess(open_image(encode(255 - wide), LIMIT), "raw")
    assert preprocessing == UNCHANGED
    assert np.abs(image.astype(int) - (255 - ankle_boot)).mean() < 8


def test_raw_takes_the_brightness_of_colours(ankle_boot: NDArray[np.uint8]) -> None:
    found = read_image(coloured(ankle_boot), LIMIT, "raw")
    brightness = 0.299 * ankle_boot + 0.701 * (ankle_boot // 2)  # ITU-R BT.601
    assert np.abs(found - brightness).max() <= 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_raw_is_upright(orientation: int, ankle_boot: NDArray[np.uint8]) -> None:
    content = turned(Image.fromarray(ankle_boot), orientation, "PNG")
    np.testing.assert_array_equal(read_image(content, LIMIT, "raw"), ankle_boot)


def test_photo_takes_even_the_data_sets_own_through_the_pipeline(
    ankle_boot: NDArray[np.uint8],
) -> None:
    seen = preprocess(open_image(encode(255 - ankle_boot), LIMIT), "photo")
    assert seen.preprocessing == {"mode": "photo", "negated": True, "trimmed": True}
    assert np.abs(seen.pixels.astype(int) - ankle_boot).mean() < 40


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PDF", "EPS", "PCX", "SGI", "DDS"])
def test_other_formats_are_refused(kind: str, ankle_boot: NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(encode(ankle_boot, kind, "RGB"))
    assert f"is not a {SERVED} file" in str(caught.value)


def test_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match=f"the image is empty: send a {SERVED} file"):
        read(b"")


@pytest.mark.parametrize("kind", READERS)
def test_a_file_cut_off_anywhere_is_refused(kind: str) -> None:
    """Or accepted, if only a checksum or a trailer is missing and every pixel is there."""
    content = encode(garment(), kind, "RGB")
    whole, refused = read(content), 0
    for length in range(len(content)):
        try:
            found = read(content[:length])
        except InvalidInput:
            refused += 1
        else:
            np.testing.assert_array_equal(found, whole)
    assert refused > 0.8 * len(content)


@pytest.mark.parametrize("size", [(60_000, 60_000), (6_000, 5_334), (13_000, 13_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    with warnings.catch_warnings(record=True) as leaked, pytest.raises(TooLarge) as caught:
        read_image(png_header(*size), LIMIT)
    message = f"{size[0]} x {size[1]} = {size[0] * size[1]:,} pixels, 32,000,000 are the limit"
    assert message in str(caught.value)
    assert leaked == []


@pytest.mark.parametrize("turn", [False, True])
def test_the_longest_side_is_not_too_long(turn: bool) -> None:
    def strip(side: int) -> bytes:
        return save(Image.new("L", (1, side) if turn else (side, 1)), "PNG")

    open_image(strip(65_535), LIMIT)
    with pytest.raises(TooLarge, match="65,535 are the limit of a side"):
        open_image(strip(65_536), LIMIT)


def test_tiles_of_the_limit_are_not_too_large() -> None:
    content = tiles(1, b"\0", tile=32)
    open_image(content, 32 * 32)
    with pytest.raises(TooLarge, match="tiles of 32 x 32 = 1,024 pixels, 1,023 are the limit"):
        open_image(content, 32 * 32 - 1)


def test_the_limit_itself_is_not_too_much() -> None:
    content = encode(np.zeros((30, 40), np.uint8))
    assert read_image(content, 1200).shape == (28, 28)
    with pytest.raises(TooLarge, match=re.escape("40 x 30 = 1,200 pixels, 1,199 are the limit")):
        read_image(content, 1199)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("size", [(28, 29), (1, 1), (1, 900), (900, 1), (300, 250)])
def test_every_mode_and_size_becomes_a_picture(kind: str, size: tuple[int, int]) -> None:
    """The last is above the size at which a photograph is first made smaller."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = ((rows + columns) % 256).astype(np.uint8)
    modes = {mode for _, mode in LOSSLESS} | {"1", "La", "RGBX", "HSV", "LAB"}
    written = 0
    for mode in sorted(modes):
        try:
            content = save(_any_mode(pixels, mode), kind)
        except (OSError, ValueError):
            continue  # a format does not have every mode
        written += 1
        read(content)
    assert written >= 4


def _any_mode(pixels: NDArray[np.uint8], mode: str) -> Image.Image:
    if mode == "LAB":
        height, width = pixels.shape
        channels = np.dstack([pixels, np.full_like(pixels, 128), np.full_like(pixels, 128)])
        return Image.frombytes("LAB", (width, height), channels.tobytes())
    if mode == "La":
        return in_mode(pixels, "LA").convert("La")
    return in_mode(pixels, mode)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_picture_or_refused(content: bytes) -> None:
    read_or_refuse(content)


@given(st.data(), st.sampled_from(READERS))
def test_a_damaged_file_is_a_picture_or_refused(data: st.DataObject, kind: str) -> None:
    damaged = bytearray(turned(Image.fromarray(garment()), 6, kind) if kind != "BMP" else bmp())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    read_or_refuse(bytes(damaged))


def bmp() -> bytes:
    return encode(garment(), "BMP")


def read_or_refuse(content: bytes) -> None:
    try:
        read(content)
    except RequestError as error:
        assert len(str(error)) > 10  # noqa: PT017 - a picture is as good an outcome
