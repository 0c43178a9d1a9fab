"""Where workers listen for gRPC, which their parent tells them; it does not import grpcio."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from service.errors import StartError

VARIABLE = "LENET_GRPC"  # of the environment, from which workers read it as JSON


@dataclass(frozen=True)
class Listening:
    """An address and its TLS files, all PEM.

    Attributes:
        address: `host:port`.
        certificate: the server's, with its chain; None: no TLS.
        key: of the certificate.
        client_authorities: those that clients' certificates are checked with.
        requires_client_certificate: whether a client must have one.
    """

    address: str
    certificate: str | None = None
    key: str | None = None
    client_authorities: str | None = None
    requires_client_certificate: bool = False

    @classmethod
    def choose(cls, address: str, tls: Mapping[str, Any]) -> Self:
        """Return an address with the TLS files of HTTP.

        Args:
            address: `host:port`.
            tls: uvicorn's options that begin with ssl_, checked.

        Raises:
            StartError: the key has a password.
        """
        certificate = tls.get("ssl_certfile")
        if not certificate:
            return cls(address)
        key = str(tls.get("ssl_keyfile") or certificate)
        if b"ENCRYPTED" in Path(key).read_bytes():  # in the first lines of its PEM block
            raise StartError(
                f"gRPC at {address}: the key {key} has a password, which gRPC cannot take: "
                "expected a key without one"
            )
        required = tls.get("ssl_cert_reqs") == ssl.CERT_REQUIRED
        return cls(address, str(certificate), key, tls.get("ssl_ca_certs"), required)

    def tell_workers(self) -> None:
        """Have workers that start from now on listen there."""
        os.environ[VARIABLE] = orjson.dumps(asdict(self)).decode()
        # Or clients could fill the log: gRPC's core writes a line for each of many wrong requests.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    @classmethod
    def read(cls) -> Self | None:
        """Return where a worker listens; None if it does not."""
        text = os.environ.get(VARIABLE)
        return None if text is None else cls(**orjson.loads(text))
