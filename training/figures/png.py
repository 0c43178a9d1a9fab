"""Write figures as PNG files."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from training.files.atomic_write import write_atomically

DOTS_PER_INCH = 120


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure atomically.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, png_bytes(figure))


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
