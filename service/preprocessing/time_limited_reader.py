"""A picture's bytes, for a reader that may spend only so much time on them.

Small files can keep Pillow's readers busy for hours: a progressive JPEG of a million empty scans,
a PNG of thousands of colour profiles that each inflate to a megabyte. All of them come back for
more bytes every few milliseconds.
"""

import time
from io import BytesIO
from threading import get_ident

from service.errors import TooLarge

# Of a processor, not of a clock on the wall: a busy machine refuses nothing that an idle one takes.
# An honest PNG of 32 million pixels takes 0.9 s.
MAX_DECODE_CPU_SECONDS = 2.0


class TimeLimitedReader(BytesIO):
    """Bytes that can be read for `SECONDS` of each thread's time that reads them."""

    def __init__(self, content: bytes) -> None:
        """Start the time of this thread."""
        super().__init__(content)
        self._start()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            TooLarge: the time is over.
        """
        if self._thread != get_ident():
            self._start()
        if time.thread_time() > self._end:
            raise TooLarge(
                f"the image is not read in {MAX_DECODE_CPU_SECONDS:g} s of a processor's time: "
                "save it anew, without what is no picture in it"
            )
        return super().read(size)

    def _start(self) -> None:
        self._thread = get_ident()
        self._end = time.thread_time() + MAX_DECODE_CPU_SECONDS
