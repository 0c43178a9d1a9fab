"""The port for gRPC: checked and kept by the workers' parent, which tells them where to listen.

All workers listen on it by SO_REUSEPORT, since grpcio takes no open socket; the system then gives
each connection to one of them. With SO_REUSEPORT alone a second server would not be noticed.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from service.errors import StartError
from service.grpc.listening import Listening
from service.server.listening import Address, cannot_listen

VARIABLE = "LENET_GRPC"  # of the environment, from which workers read it as JSON


def reserve(
    address: Address, port: int, others: Mapping[str, int | None], tls: Mapping[str, Any]
) -> socket.socket:
    """Reserve the port, and tell the workers that start from now on.

    Args:
        address: the address of the service, on which gRPC is served too.
        port: the port for gRPC.
        others: the server's other ports, by their names.
        tls: uvicorn's options that begin with ssl_, checked.

    Returns:
        A socket that keeps the port from other users while it is open.

    Raises:
        StartError: the port is in use, or the key has a password.
    """
    variable = f"FASHION_GRPC_PORT={port}"
    for name, other in others.items():
        if port == other:
            raise StartError(f"{variable} is {name}: choose another")
    listening = _listening(Address(address.host, port), tls)
    try:
        held = _hold(address.host, port)
    except OSError as error:
        raise cannot_listen(variable, error) from error
    os.environ[VARIABLE] = orjson.dumps(asdict(listening)).decode()
    return held


def read_listening() -> Listening | None:
    """Return where a worker listens for gRPC; None if it does not."""
    text = os.environ.get(VARIABLE)
    return None if text is None else Listening(**orjson.loads(text))


def _listening(address: Address, tls: Mapping[str, Any]) -> Listening:
    certificate = tls.get("ssl_certfile")
    if not certificate:
        return Listening(str(address))
    key = str(tls.get("ssl_keyfile") or certificate)
    if b"ENCRYPTED" in Path(key).read_bytes():  # in the first line of its PEM block
        raise StartError(
            f"FASHION_GRPC_PORT={address.port}: the key {key} has a password, which gRPC cannot "
            "take: expected a key without one"
        )
    required = tls.get("ssl_cert_reqs") == ssl.CERT_REQUIRED
    return Listening(str(address), str(certificate), key, tls.get("ssl_ca_certs"), required)


def _hold(host: str, port: int) -> socket.socket:
    """Return a socket that has the port, but does not listen.

    Raises:
        OSError: the port is in use, or this user may not use it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()  # fails if another one listens
    held = socket.socket(family)
    if hasattr(socket, "SO_REUSEPORT"):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    return held
