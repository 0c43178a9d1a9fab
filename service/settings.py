"""What the service can be told, by environment variables named FASHION_..."""

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Device = Literal["auto", "cpu", "cuda"]

PREFIX = "FASHION_"
SECRET = frozenset(("api_key",))  # what no message shows

# Variables of others that begin as ours do: where the data set is, and what Kubernetes tells each
# pod of a service whose name does.
OTHERS = re.compile(r"FASHION_MNIST_DIR|\w+_SERVICE_(HOST|PORT\w*)|\w+_PORT_\d+_(TCP|UDP|SCTP)\w*")
LINK = re.compile("(tcp|udp|sctp)://")

HERE = Path(__file__).parent
RELEASED_MODELS = (
    HERE / "fashion_lenet" / "model.onnx",  # of a wheel, which has it inside
    HERE.parent / "models" / "fashion_lenet" / "model.onnx",  # of a clone, or of a Bento
)
RELEASED_MODEL = next((path for path in RELEASED_MODELS if path.exists()), RELEASED_MODELS[-1])

SHORTEST_KEY, LONGEST_KEY = 16, 1024  # characters of a key; a request's head has room for 32 KiB
VISIBLE = re.compile("[!-~]*")  # ASCII without white space (RFC 9110, section 5.5)

# A scheme, a host and perhaps a port, as browsers write them in the header Origin (RFC 6454,
# section 6.2): in small letters, an IPv6 address in brackets, nothing behind.
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
ANY_ORIGIN = "*"


def read_keys(text: str) -> tuple[SecretStr, ...]:
    """Read keys that are separated by commas.

    Raises:
        ValueError: one cannot be a key. The message does not have it.
    """
    keys = text.split(",")
    for place, key in enumerate(keys, 1):
        if fault := _fault_of_key(key):
            raise ValueError(
                f"key {place} of {len(keys)} {fault}; {SHORTEST_KEY} to {LONGEST_KEY} characters "
                "of ASCII, with no space and no comma, are right"
            )
    return tuple(map(SecretStr, keys))


def _fault_of_key(key: str) -> str:
    if not key:
        return "is empty"
    if any(map(str.isspace, key)):
        return "has white space in it or around it"
    if not VISIBLE.fullmatch(key):
        return "has a character that no header can carry"
    return "" if SHORTEST_KEY <= len(key) <= LONGEST_KEY else f"has {len(key)} characters"


def read_origins(text: str) -> tuple[str, ...]:
    """Read origins that are separated by commas, or `*` for any.

    Raises:
        ValueError: one of them is none.
    """
    origins = tuple(text.split(","))
    for origin in origins:
        if not ORIGIN.fullmatch(origin) and origins != (ANY_ORIGIN,):
            raise ValueError(
                f"{origin!r} is no origin: https://shop.example or http://localhost:8080 is "
                "right, several separated by commas alone, or * for any"
            )
    return origins


def _read_if_text(read: Callable[[str], object]) -> BeforeValidator:
    """From the environment comes text; a default, which is validated too, is none."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


Keys = Annotated[tuple[SecretStr, ...], NoDecode, _read_if_text(read_keys)]
Origins = Annotated[tuple[str, ...], NoDecode, _read_if_text(read_origins)]


class ServiceSettings(BaseSettings):
    """Settings of one server; docs/operations.md has them as a table.

    Raises:
        pydantic.ValidationError: a value is not what its setting takes.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    device: Device = Field(
        "auto", description="where to compute; auto: on CUDA if there is one, else on the CPU"
    )
    model: Path = Field(RELEASED_MODEL, description="the model.onnx to serve")
    max_body_bytes: int = Field(
        10 * 2**20,
        ge=1,
        le=2**30,
        description="largest request body; a larger one is answered with 413",
    )
    max_image_pixels: int = Field(
        64_000_000, ge=28 * 28, le=10**9, description="largest image, width times height; else 413"
    )
    max_batch: int = Field(
        1024,
        ge=1,
        le=2**16,
        description="most images in one run of the network, on the CPU 128 at most; a request for "
        "more runs in pieces",
    )
    max_concurrency: int = Field(
        256,
        ge=1,
        le=2**16,
        description="most requests that run or wait in a process; more are answered with 429",
    )
    timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="longest time for a request, its upload included; then 408 or 504",
    )
    keep_alive_seconds: float = Field(
        75.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="how long a connection may wait for its client's next request",
    )
    drain_seconds: float = Field(
        1.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="how long to go on answering, though not ready, after SIGTERM",
    )
    access_log: Literal["text", "json", "off"] = Field(
        "text", description="one line for each request on standard output, in this form"
    )
    api_key: Keys = Field(
        (), description="keys, separated by commas, of which a request must have one; none: all may"
    )
    cors_origins: Origins = Field(
        (),
        description="origins, separated by commas, whose pages may ask from a browser; *: any",
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="serve /metrics on a port of its own, and there alone"
    )
    watch: bool = Field(
        True, description="say of each picture how far it is from the model's training set"
    )
    tracing: bool = Field(
        False, description="send OpenTelemetry's spans of each request, by OTLP over HTTP"
    )
    workers: int = Field(1, ge=1, le=1024, description="server processes")

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        """Have an empty variable mean its default; not so a key: that would let everyone in."""
        name = str(info.field_name)
        return value if value != "" or name in SECRET else cls.model_fields[name].default


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Say of each variable that begins as ours do and is none what it may have been meant to be.

    Its value is not shown: it may be a key.
    """
    known = [PREFIX + name.upper() for name in ServiceSettings.model_fields]
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or OTHERS.fullmatch(upper):
            continue
        if LINK.match(value):
            continue
        near = get_close_matches(upper, known, n=1, cutoff=0.0)[0]
        yield f"{name} is no setting and changes nothing; the nearest that is one is {near}"


def describe_faults(error: ValidationError) -> str:
    """Name every variable that is wrong, its value, and what would be right."""
    return "; ".join(
        f"{_shown(str(fault['loc'][0]), fault['input'])}: {fault['msg']}"
        for fault in error.errors()
    )


def _shown(name: str, value: object) -> str:
    variable = PREFIX + name.upper()
    return variable if name in SECRET else f"{variable}={value}"
