"""A client in Python that calls the Open Inference Protocol's ModelInfer in a closed loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import numpy as np

from benchmarks.http.load import PIXELS, Load
from service.grpc.open_inference_pb2 import ModelInferRequest

METHOD = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def load_grpc(port: int, images: int, at_once: int, seconds: float) -> Load:
    """Call for so long.

    Args:
        port: of a server on this machine.
        images: of a call, as raw contents.
        at_once: how many calls wait at a time, on one connection.
        seconds: how long to go on.
    """
    content = _request(images)
    failures = 0
    times: list[float] = []  # of a call, in seconds

    async def run() -> None:
        deadline = time.perf_counter() + seconds
        target = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(target, options=UNLIMITED) as channel:
            await channel.channel_ready()
            call: Callable[[bytes], Awaitable[bytes]] = channel.unary_unary(METHOD)

            async def repeat() -> None:
                nonlocal failures
                while (start := time.perf_counter()) < deadline:
                    try:
                        await call(content)
                    except grpc.aio.AioRpcError:
                        failures += 1
                    times.append(time.perf_counter() - start)

            await asyncio.gather(*(repeat() for _ in range(at_once)))

    start, cpu = time.perf_counter(), time.process_time()
    asyncio.run(run())
    taken = time.perf_counter() - start
    p50, p99 = np.percentile(times, (50, 99)) * 1e3
    return Load(
        len(times) / taken, float(p50), float(p99), failures, len(times), time.process_time() - cpu
    )


def _request(images: int) -> bytes:
    request = ModelInferRequest(
        model_name="fashion_lenet", raw_input_contents=[bytes(images * PIXELS)]
    )
    request.inputs.add(name="image", datatype="UINT8", shape=[images, 1, 28, 28])
    request.outputs.add(name="probabilities")
    content: bytes = request.SerializeToString()
    return content
