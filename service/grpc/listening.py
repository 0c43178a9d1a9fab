"""Where a worker listens for gRPC; without grpcio, so that the workers' parent can import it."""

from dataclasses import dataclass


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
