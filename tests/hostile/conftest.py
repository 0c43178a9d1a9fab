"""One real server that all hostile requests go to."""

from collections.abc import Iterator

import pytest

from tests.serving import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`bentoml serve` on the CPU, with its default limits."""
    with serving(tmp_path_factory.mktemp("hostile"), FASHION_DEVICE="cpu") as server:
        yield server
