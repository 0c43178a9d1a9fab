"""Checks of where a server listens: host name, port, and TLS files.

BentoML accepts no host name, listens on 4464 if 70000 is given, and notices a missing certificate
only in its workers, which it then restarts again and again.
"""

import errno
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from service.errors import StartError

PORTS = range(65536)
TLS_FILES = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")

REMEDIES = {
    errno.EADDRINUSE: "another program uses it, choose another port",
    errno.EACCES: "this user may not use it, choose a port from 1024 up",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
}


@dataclass(frozen=True)
class Address:
    """An address of this machine, and a port; with 0 the system chooses a port."""

    host: str  # numeric
    port: int

    @classmethod
    def find(cls, host: str, port: int) -> "Address":
        """Return the address of a host; IPv4 is preferred, as by `curl` and browsers.

        Raises:
            StartError: the host or the port does not exist.
        """
        if port not in PORTS:
            raise StartError(f"--port is {port}, expected 0 to {PORTS[-1]}")
        if not host:
            raise StartError("--host is empty, expected 127.0.0.1, or 0.0.0.0 for all interfaces")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise StartError(f"--host {host!r} has no address: {_reason(error)}") from error
        families = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
        return cls(str(families[0][4][0]), port)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        address = ip_address(self.host)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback

    @property
    def is_everywhere(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        return ip_address(self.host).is_unspecified

    def url(self, scheme: str) -> str:
        """Return the URL for a browser on this machine."""
        host = "localhost" if self.is_everywhere else self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __str__(self) -> str:
        """Return the address as `host:port`, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def cannot_listen(address: str, error: OSError) -> StartError:
    """Return the error that says why listening fails, and the remedy."""
    remedy = REMEDIES.get(error.errno or 0)
    return StartError(f"{address}: {_reason(error)}{f'; {remedy}' if remedy else ''}")


def hold_port(host: str, port: int) -> socket.socket:
    """Return a socket that keeps a port for the workers, which listen on it by SO_REUSEPORT.

    With SO_REUSEPORT alone a second server on the port would not be noticed.

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


def check_tls(options: Mapping[str, Any]) -> None:
    """Check that TLS can be set up, as each worker will do it.

    Args:
        options: uvicorn's options that begin with ssl_; None or missing if not given.

    Raises:
        StartError: a file cannot be read, or its content is invalid.
    """
    given = {name: value for name, value in options.items() if value}
    files = {_flag(name): given[name] for name in TLS_FILES if name in given}
    if files and "ssl_certfile" not in given:  # uvicorn would serve without TLS, or fail later
        raise StartError(f"{next(iter(files))} needs --ssl-certfile too")
    for flag, file in files.items():
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise StartError(f"{flag} {file}: {error.strerror}") from error
    try:
        if files:
            _try_tls(given)
    except (ssl.SSLError, ValueError, OverflowError) as error:
        named = ", ".join(f"{flag} {file}" for flag, file in files.items())
        raise StartError(f"TLS cannot be set up with {named}: {error}") from error


def _try_tls(given: Mapping[str, Any]) -> None:
    context = ssl.SSLContext(given.get("ssl_version", ssl.PROTOCOL_TLS_SERVER))
    password = given.get("ssl_keyfile_password", "none")  # without one OpenSSL asks on the terminal
    context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"), password)
    context.verify_mode = ssl.VerifyMode(given.get("ssl_cert_reqs", ssl.CERT_NONE))
    if "ssl_ca_certs" in given:
        context.load_verify_locations(given["ssl_ca_certs"])
    if "ssl_ciphers" in given:
        context.set_ciphers(given["ssl_ciphers"])


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _reason(error: OSError | UnicodeError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if (error.errno or 0) > 0:  # the text from `socket` has more in it
        return os.strerror(error.errno or 0)
    return error.strerror or str(error)
