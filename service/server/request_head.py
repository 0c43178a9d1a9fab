"""Checks of a request head, so that all servers on its way see the same requests in it.

Sources: RFC 9112, sections 3.2 (Host) and 6.1 (Transfer-Encoding); RFC 9110, sections 9.3.6
(CONNECT) and 15.6.2 (501).
"""

import re
from collections.abc import Sequence
from functools import lru_cache

FRAMING = frozenset((b"host", b"transfer-encoding"))

# A name or an address, and optionally a port (RFC 3986, sections 3.2.2 and 3.2.3).
HOST = re.compile(rb"(\[[0-9A-Fa-fv:.]+\]|[\w.~!$&'()*+,;=%-]*)(:[0-9]*)?", re.ASCII)


class HeadRejected(Exception):
    """A request head is rejected.

    Attributes:
        status: HTTP status of the response.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_head(version: str, method: bytes, framing: Sequence[tuple[bytes, bytes]]) -> None:
    """Check the headers that say where a request goes and where it ends.

    Args:
        version: the HTTP version, such as 1.1.
        method: such as POST.
        framing: the headers that are in `FRAMING`, with names in lower case.

    Raises:
        HeadRejected: they do not follow the sources above.
    """
    if method == b"CONNECT":
        raise HeadRejected(501, "tunnels are not supported: CONNECT is not served")
    hosts = [value for name, value in framing if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):
        raise HeadRejected(400, f"the request has {len(hosts)} Host headers, expected one")
    if hosts and not _is_host(hosts[0]):
        seen = hosts[0][:60].decode("latin-1")
        raise HeadRejected(400, f"the Host header is {seen!r}, expected one like localhost:3000")
    if len(hosts) < len(framing):
        _check_codings(version, [value for name, value in framing if name == b"transfer-encoding"])


def _check_codings(version: str, values: Sequence[bytes]) -> None:
    if version != "1.1":
        raise HeadRejected(400, f"Transfer-Encoding is of HTTP/1.1, the request is HTTP/{version}")
    if [value.strip().lower() for value in values] != [b"chunked"]:
        raise HeadRejected(501, "the Transfer-Encoding is not served, expected chunked or none")


@lru_cache
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None
