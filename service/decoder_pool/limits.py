"""Limits of the time and memory to decode one request's images."""

from typing import NamedTuple

from service.errors import TooLarge

MIB = 2**20


class Limits(NamedTuple):
    """The limits of one job."""

    seconds: float  # of CPU time
    memory: int  # bytes, in addition to the files themselves
    pixels: int | None  # decoded
    final: bool  # a job beyond the limits is rejected, not repeated by other processes

    def refuse_memory(self) -> TooLarge:
        """Return the error for a job that takes too much memory."""
        return TooLarge(
            f"the image takes more than {self.memory // MIB} MiB of memory to decode: send a "
            "smaller one, or save it as JPEG"
        )

    def refuse_time(self) -> TooLarge:
        """Return the error for a job that takes too much CPU time."""
        return TooLarge(
            f"the image is not read in {self.seconds:g} s of CPU time: save it again, with the "
            "picture only and no other data, or send fewer or smaller ones"
        )


# Each job is first tried by the processes for small jobs; one that exceeds their limits is repeated
# by those for large jobs. So a small job does not wait for a large one, or one that looks small.
SMALL, LARGE = b"s", b"l"
LIMITS = {
    SMALL: Limits(0.05, 64 * MIB, 500_000, final=False),
    LARGE: Limits(2.0, 160 * MIB, None, final=True),
}
