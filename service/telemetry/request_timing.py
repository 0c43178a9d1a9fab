"""Timing of the parts of a request, for `Server-Timing` and the log."""

import time

from starlette.types import Scope

SCOPE_KEY = "fashion_lenet.timing"


class RequestTiming:
    """The timing of one request, in seconds."""

    __slots__ = ("decode", "end", "inference", "model_version", "parts", "runs", "start")

    def __init__(self) -> None:
        """Start the clock."""
        self.start = time.perf_counter()
        self.end = 0.0  # when the latest chunk of the response was sent
        self.decode = 0.0  # from bytes to the model's input array
        self.inference = 0.0  # the model, and the wait for the batch before
        self.model_version = b""  # of the model that was used, once it is known
        # For `service.middleware.tracing`, by the clock of `time.perf_counter`:
        self.parts: list[tuple[str, float, float]] = []  # name, start and end
        self.runs: list[tuple[float, int]] = []  # of the model: start, and images of all requests

    @property
    def total(self) -> float:
        """Seconds from the start of the request to the end of its response, or until now."""
        return (self.end or time.perf_counter()) - self.start

    def stop(self) -> None:
        """Note that a chunk of the response was sent; the time after the last is not counted."""
        self.end = time.perf_counter()

    def decoding(self) -> "_Part":
        """Count the block as decoding, including the wait for a thread."""
        return _Part(self, decoding=True)

    def inferring(self) -> "_Part":
        """Count the block as inference."""
        return _Part(self, decoding=False)

    def running(self, images: int) -> None:
        """Note that a run of the model starts, on this many images of this and other requests."""
        self.runs.append((time.perf_counter(), images))

    def header(self) -> str:
        """Return a `Server-Timing` header (W3C, Server Timing, section 4), in milliseconds."""
        return (
            f"decode;dur={self.decode * 1e3:.3f}, inference;dur={self.inference * 1e3:.3f}, "
            f"total;dur={self.total * 1e3:.3f}"
        )


class _Part:
    """Add the time of a block to a part. A class, because contextlib's generators take 1.5 us."""

    __slots__ = ("_decoding", "_start", "_timing")

    def __init__(self, timing: RequestTiming, decoding: bool) -> None:
        self._timing, self._decoding = timing, decoding
        self._start = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        timing, start, end = self._timing, self._start, time.perf_counter()
        if self._decoding:
            timing.decode += end - start
            timing.parts.append(("decode", start, end))
        else:
            timing.inference += end - start
            timing.parts.append(("inference", start, end))


def timing(scope: Scope) -> RequestTiming:
    """Return the timing of a request, which `service.middleware.instrumentation` started."""
    found: RequestTiming = scope[SCOPE_KEY]
    return found
