"""A model's images and pipeline, as its metadata says them."""

import pytest

from service.signature import ImageSpec

GREY, RGB = (1, 20, 30), (3, 64, 64)


@pytest.mark.parametrize(
    ("shape", "text", "expected"),
    [
        (GREY, None, ImageSpec(1, 20, 30, "fashion-mnist")),
        (RGB, None, ImageSpec(3, 64, 64, "resize")),
        (GREY, '{"pipeline": "fashion-mnist"}', ImageSpec(1, 20, 30, "fashion-mnist")),
        (GREY, '{"pipeline": "resize"}', ImageSpec(1, 20, 30, "resize")),
        (
            RGB,
            '{"pipeline": "center-crop", "resize": 72}',
            ImageSpec(3, 64, 64, "center-crop", 72),
        ),
        (
            RGB,
            '{"pipeline": "center-crop", "resize": 64}',
            ImageSpec(3, 64, 64, "center-crop", 64),
        ),
    ],
)
def test_the_metadata_say_the_pipeline(
    shape: tuple[int, int, int], text: str | None, expected: ImageSpec
) -> None:
    assert ImageSpec.parse(shape, text) == expected


def test_shape_and_bytes() -> None:
    spec = ImageSpec(3, 20, 30, "resize")
    assert spec.shape == (3, 20, 30)
    assert spec.bytes == 1800
    assert str(spec) == "3 x 20 x 30"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"pipeline": "fashion-mnist"}', "is for one channel, the model has 3"),
        ('{"pipeline": "center-crop", "resize": 63}', "resize: expected 64 to 4,096, got 63"),
        ('{"pipeline": "center-crop", "resize": true}', "resize: expected 64 to 4,096, got True"),
        ('{"pipeline": "crop"}', 'expected {"pipeline": "fashion-mnist"}, '),
        ("[]", "expected an object with a pipeline, got '\\[\\]'"),
    ],
)
def test_a_pipeline_that_does_not_fit_is_refused(text: str, error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        ImageSpec.parse(RGB, text)
