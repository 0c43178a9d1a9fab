"""An image file's bytes, with a limit of the CPU time in which they can be read.

Small files can keep Pillow's readers busy for hours: a progressive JPEG of a million empty scans,
a PNG of thousands of colour profiles that each inflate to a megabyte. All of these readers ask for
more bytes every few milliseconds.
"""

import time
from io import BytesIO
from threading import get_ident

from service.errors import TooLarge

# CPU time, not wall time: a busy machine accepts the same files as an idle one. A normal PNG of
# 32 million pixels takes 0.9 s.
MAX_DECODE_CPU_SECONDS = 2.0


class TimeLimitedReader(BytesIO):
    """Bytes that each thread can read for `MAX_DECODE_CPU_SECONDS` of its CPU time."""

    def __init__(self, content: bytes) -> None:
        """Start the limit of this thread."""
        super().__init__(content)
        self._start()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            TooLarge: the thread's CPU time is used up.
        """
        if self._thread != get_ident():
            self._start()
        if time.thread_time() > self._end:
            raise TooLarge(
                f"the image is not read in {MAX_DECODE_CPU_SECONDS:g} s of CPU time: "
                "save it again, with the picture only and no other data"
            )
        return super().read(size)

    def _start(self) -> None:
        self._thread = get_ident()
        self._end = time.thread_time() + MAX_DECODE_CPU_SECONDS
