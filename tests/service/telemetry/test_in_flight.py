"""The gauge of in-flight requests, on a server that waits for bodies."""

import math
import socket
import time
from contextlib import ExitStack

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.in_flight import MEAN_SECONDS, SAMPLE_SECONDS
from tests.serving import Server

HEAD = (  # its body never comes
    b"POST /predict HTTP/1.1\r\n"
    b"Host: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
)
UPLOADS = 20
LONGEST = 120.0  # a last resort


def in_hand(client: httpx.Client) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    (value,) = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "fashion_requests_in_hand"
    ]
    return value


def test_requests_that_are_not_answered_count_and_then_no_more(
    server: Server, client: httpx.Client
) -> None:
    before = in_hand(client)
    begun = time.monotonic()
    with ExitStack() as stack:
        for _ in range(UPLOADS):
            connection = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(connection).sendall(HEAD)
        most = in_hand(client)
        while most < before + 1:
            assert time.monotonic() - begun < LONGEST
            most = in_hand(client)
        # A mean takes its time: after t seconds 1 - exp(-t / T) of what it will be, no more.
        samples = math.ceil((time.monotonic() - begun) / SAMPLE_SECONDS) + 1
        kept = (1 - SAMPLE_SECONDS / MEAN_SECONDS) ** samples
        assert most <= before * kept + (UPLOADS + 1) * (1 - kept)  # with the question itself
    while in_hand(client) >= 0.95 * most:
        assert time.monotonic() - begun < LONGEST
