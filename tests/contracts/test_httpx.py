"""httpx: where a client reads the certificates of all authorities.

Stood on by `tests.conftest`.
"""

from typing import Any

import httpx
import pytest


@pytest.mark.parametrize("client", [httpx.Client, httpx.AsyncClient])
def test_a_client_asks_for_them_where_they_are_read_once(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    context = httpx.create_ssl_context()

    def create_ssl_context(**given: Any) -> Any:
        asked.append(given)
        return context

    monkeypatch.setattr("httpx._transports.default.create_ssl_context", create_ssl_context)
    client(trust_env=False)
    assert asked == [{"verify": True, "cert": None, "trust_env": False}]
