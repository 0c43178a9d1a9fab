"""Many models in one server for ten minutes, while they are changed: is an answer lost or wrong?

    python -m benchmarks.soak.models [--minutes 10] [NETWORK ...]

Two LeNets of different labels and networks of `benchmarks.exported_networks`, by default ResNet-20
and ResNet-50, are served by two workers, over HTTP and gRPC. Clients of both compare the class or
label of each answer with ONNX Runtime's in this process. Meanwhile models are unloaded and loaded
again, or another version of their file is loaded in place of the one that is served; each minute
the default model's file is replaced and the server reloads (SIGHUP); and in the middle a worker is
killed (SIGKILL). A model must be unavailable only while it is unloaded, and a connection break only
if it was the killed worker's: the client sends that request again.

Everything is written to runs/soak-models.json. The exit status is not 0 if an answer was lost or
wrong, or for the other reasons of `make soak`.
"""

import asyncio
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import grpc

from benchmarks.grpc_load import METHOD
from benchmarks.http.peers import Running
from benchmarks.http.shipped import free_port
from benchmarks.soak.connection import LONGEST_SECONDS, SHOWN, Answer, Connection, Tally
from benchmarks.soak.model_folder import DEFAULT, ChangingModel, write_models
from benchmarks.soak.requests import JSON, Good, post
from benchmarks.soak.soak import Loop, Soak, options, run_soak

NETWORKS = ("resnet20", "resnet50")
CLIENTS = 4  # of each protocol
PAUSE = 0.05  # seconds of a client
CHANGE_SECONDS = 5.0
OK, UNAVAILABLE = 200, 503
STATUSES = {grpc.StatusCode.UNAVAILABLE: UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED: 429}
# Otherwise the channels of one process share a connection, and so a worker.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


class ModelsSoak(Soak):
    """Traffic for models that are loaded, unloaded and replaced."""

    def __init__(
        self,
        models: Sequence[ChangingModel],
        grpc_port: int,
        service: Running,
        port: int,
        seconds: float,
    ) -> None:
        """Send the models' requests."""
        super().__init__(service, port, seconds)
        self._models, self._grpc_port = models, grpc_port
        self._random = random.Random(0)  # noqa: S311
        self._broken_calls = 0  # of the killed worker
        # When each model was loaded again, of time.monotonic; while it is not, infinity.
        self._back = dict.fromkeys((model.name for model in models), 0.0)

    def _clients(self, tally: Tally) -> Iterator[Loop]:
        for _ in range(CLIENTS):
            yield self._ask_http(tally)
            yield self._ask_grpc(tally)

    def _events(self) -> Sequence[Callable[[], Loop]]:
        return (*super()._events(), self._change)

    async def _rest(self) -> None:
        """Load what a change that was cut short has left unloaded, and look."""
        for model in self._models:
            await self._control("load", model)
        await super()._rest()

    def _before_reload(self) -> None:
        self._models[0].replace()

    async def _change(self) -> None:
        """Unload a model and load it again, then load another version of the next in its place."""
        others = cycle(self._models[1:])
        while True:
            await asyncio.sleep(self._often(CHANGE_SECONDS))
            model = next(others)
            self._back[model.name] = math.inf
            await self._control("unload", model)
            await self._control("load", model)
            await asyncio.sleep(self._often(CHANGE_SECONDS))
            model = next(others)
            model.replace()
            await self._control("load", model)

    async def _control(self, action: str, model: ChangingModel) -> None:
        request = post(f"/v2/repository/models/{model.name}/{action}", JSON, b"{}")
        answer = None
        while answer is None:
            async with Connection(self._port) as connection:
                with self._tally.unbroken(action, connection):
                    answer = await connection.exchange([request])
        self._tally.note(action, answer)
        if answer.status != OK:
            self._tally.fault("other status", action, body=answer.body.decode(errors="replace"))
        elif action == "load":
            self._back[model.name] = time.monotonic()

    async def _ask_http(self, tally: Tally) -> None:
        model = self._random.choice(self._models)
        good = self._random.choice(model.http)
        while True:
            async with Connection(self._port) as connection:
                with tally.unbroken(good.kind, connection):
                    while True:
                        begun = time.monotonic()
                        answer = await connection.exchange([good.request])
                        self._check(tally, model, good, begun, answer)
                        await asyncio.sleep(PAUSE)
                        model = self._random.choice(self._models)
                        good = self._random.choice(model.http)

    async def _ask_grpc(self, tally: Tally) -> None:
        target = f"127.0.0.1:{self._grpc_port}"
        async with grpc.aio.insecure_channel(target, options=OWN_CONNECTION) as channel:
            call = channel.unary_unary(METHOD)
            model = self._random.choice(self._models)
            good = self._random.choice(model.grpc)
            while True:
                begun = time.monotonic()
                try:
                    body = await call(good.request, timeout=LONGEST_SECONDS, wait_for_ready=True)
                    answer = Answer(OK, body)
                except grpc.aio.AioRpcError as error:
                    if "x-request-id" not in (error.trailing_metadata() or ()):  # no answer
                        self._note_broken_call(tally, good, error)
                        continue
                    answer = Answer(STATUSES.get(error.code(), 500), error.details().encode())
                self._check(tally, model, good, begun, answer)
                await asyncio.sleep(PAUSE)
                model = self._random.choice(self._models)
                good = self._random.choice(model.grpc)

    def _note_broken_call(self, tally: Tally, good: Good, error: grpc.aio.AioRpcError) -> None:
        """Note it as the killed worker's, one call for each of its connections, or as a fault."""
        doomed = list(tally.doomed.values()).count(self._grpc_port)
        if self._broken_calls < doomed:
            self._broken_calls += 1
            tally.killed[good.kind] += 1
        else:
            tally.fault("broken", good.kind, error=error.details())

    def _check(
        self, tally: Tally, model: ChangingModel, good: Good, begun: float, answer: Answer
    ) -> None:
        if answer.status == UNAVAILABLE and begun < self._back[model.name]:
            tally.statuses[good.kind][UNAVAILABLE] += 1  # the model is unloaded
            return
        tally.note(good.kind, answer)
        if answer.status != OK:
            body = answer.body[:SHOWN].decode(errors="replace")
            tally.fault("other status", good.kind, status=answer.status, body=body)
        elif (found := good.read(answer.body)) != good.classes:
            tally.fault("wrong class", good.kind, right=good.classes, found=found)


def main() -> None:
    """Soak, print, write and judge."""
    parser = options(__doc__.partition("\n")[0], minutes=10.0)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = write_models(Path(folder), arguments.networks)
        grpc_port = free_port()
        settings = {
            "FASHION_MODELS": str(models[0].path.parents[1]),
            "FASHION_DEFAULT_MODEL": DEFAULT,
            "FASHION_MODEL_CONTROL": "1",
            "FASHION_GRPC_PORT": str(grpc_port),
        }
        make = partial(ModelsSoak, models, grpc_port)
        run_soak(arguments, "soak-models.json", settings, make)


if __name__ == "__main__":
    main()
