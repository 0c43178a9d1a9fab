"""Figures written as PNG files."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from training.files.atomic_write import write_atomically

DOTS_PER_INCH = 120


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure, all or nothing.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, png_bytes(figure))


def png_bytes(figure: Figure) -> bytes:
    """Return the file's content."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
