"""All hostile requests: the modules that have them as `CASES`, by what they try."""

from tests.hostile import (
    forms,
    gif_bmp_webp,
    jpeg,
    numbers,
    other_files,
    paths_and_headers,
    png,
    tiff,
)

KINDS = (png, jpeg, gif_bmp_webp, tiff, other_files, forms, numbers, paths_and_headers)
