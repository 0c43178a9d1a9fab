"""What decoding the pictures of one request may cost."""

from typing import NamedTuple

from service.errors import TooLarge

MIB = 2**20


class Limits(NamedTuple):
    """What one job may cost."""

    seconds: float  # of a processor's time
    memory: int  # bytes, beside the files themselves
    pixels: int | None  # that are decoded
    final: bool  # what takes more is refused, not passed on

    def refuse_memory(self) -> TooLarge:
        """Say that it was not enough."""
        return TooLarge(
            f"the image takes more than {self.memory // MIB} MiB of memory to decode: send a "
            "smaller one, or save it as JPEG"
        )

    def refuse_time(self) -> TooLarge:
        """Say that it was not enough."""
        return TooLarge(
            f"the image is not read in {self.seconds:g} s of a processor's time: save it anew, "
            "without what is no picture in it, or send fewer or smaller ones"
        )


# Each picture is first tried by processes for small ones; what takes them too much is done again
# by those for large ones. So what is small does not wait for what is large, or only looks small.
SMALL, LARGE = b"s", b"l"
LIMITS = {
    SMALL: Limits(0.05, 64 * MIB, 500_000, final=False),
    LARGE: Limits(2.0, 160 * MIB, None, final=True),
}
