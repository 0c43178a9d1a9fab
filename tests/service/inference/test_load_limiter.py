"""The load: requests of all transports, less those that are exempt."""

from service.inference.load_limiter import LoadLimiter


def test_requests_of_all_transports_are_load_and_each_transport_counts_once() -> None:
    limiter = LoadLimiter(limit=3)
    http, grpc = {"a", "b"}, ["c"]
    for requests in (http, grpc, http):
        limiter.track(requests)
    assert limiter.in_flight == 3
    assert limiter.rejection() is None
    grpc.append("d")
    error = limiter.rejection()
    assert str(error) == "this worker has 4 requests in flight, the maximum is 3: try again"


def test_equal_collections_are_two_transports() -> None:
    limiter = LoadLimiter(limit=1)
    limiter.track(["a"])
    limiter.track(["a"])
    assert limiter.in_flight == 2


def test_an_exempt_request_is_in_flight_and_no_load() -> None:
    limiter = LoadLimiter(limit=0)
    limiter.track(["a", "b"])
    with limiter.exempt():
        with limiter.exempt():
            assert limiter.rejection() is None
        assert limiter.rejection() is not None
        assert limiter.in_flight == 2
    assert limiter.exempted == 0
