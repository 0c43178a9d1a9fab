"""Send valid, bad and slow traffic for 20 minutes; compare the service before and after.

    python -m benchmarks.soak [--minutes 20]

The service is what `make serve` starts, with two workers. Its clients send good pictures by form
and body, photographs, batches, JSON and tensors, and compare every class with what ONNX Runtime
says; the cases of tests/hostile; paths and bodies that are never the same; bodies over the limit;
heads and bodies of a byte a second; they hang up within requests; and each half minute 1,200 of
them ask at once, which is more than two workers admit. Each minute the model is loaded again
(SIGHUP), and in the middle a worker is killed (SIGKILL): only requests on its own connections may
fail.

Before the first figure there is traffic for a tenth of the time, two minutes at most, and a rest.
Everything is written to runs/soak.json. The exit status is not 0 if a good request got a wrong
class, any request an answer of 500 or above or a status that its kind should not get, a connection
broke that should not, a worker grew by more than 20 MiB, or a process has more descriptors or
threads.
"""

from collections.abc import Iterable

from benchmarks.http.peers import Running
from benchmarks.soak.clients import Clients
from benchmarks.soak.connection import Tally
from benchmarks.soak.requests import good_requests
from benchmarks.soak.soak import Loop, Soak, options, run_soak

EACH = 40  # good requests of each kind
BURST_SECONDS = 30.0


class MixedSoak(Soak):
    """Good, bad and slow traffic for one model."""

    def __init__(self, service: Running, port: int, seconds: float) -> None:
        """Make the good requests."""
        super().__init__(service, port, seconds)
        self._good = good_requests(EACH)

    async def run(self) -> None:
        """Have each worker start all its threads before the warm-up."""
        await self._all(self._warm_up).fill_threads()
        await super().run()

    def _clients(self, tally: Tally) -> Iterable[Loop]:
        return self._all(tally).loops()

    def _all(self, tally: Tally) -> Clients:
        return Clients(self._port, tally, self._good, self._often(BURST_SECONDS))


def main() -> None:
    """Soak, print, write and judge."""
    arguments = options(__doc__.partition("\n")[0], minutes=20.0).parse_args()
    run_soak(arguments, "soak.json", {}, MixedSoak)


if __name__ == "__main__":
    main()
