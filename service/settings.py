"""The settings of the service, from environment variables named FASHION_..."""

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
SECRET = frozenset(("api_key",))  # settings whose values no message shows

# Other variables with our prefix: the data set's folder, and those that Kubernetes sets in each pod
# for a service whose name has the prefix.
OTHERS = re.compile(r"FASHION_MNIST_DIR|\w+_SERVICE_(HOST|PORT\w*)|\w+_PORT_\d+_(TCP|UDP|SCTP)\w*")
LINK = re.compile("(tcp|udp|sctp)://")

HERE = Path(__file__).parent
RELEASED_MODELS = (
    HERE / "fashion_lenet" / "model.onnx",  # in a wheel
    HERE.parent / "models" / "fashion_lenet" / "model.onnx",  # in a clone, or in a Bento
)
RELEASED_MODEL = next((path for path in RELEASED_MODELS if path.exists()), RELEASED_MODELS[-1])
RELEASED_NAME = RELEASED_MODEL.parent.name

SHORTEST_KEY, LONGEST_KEY = 16, 1024  # characters of a key; a request's head has room for 32 KiB
VISIBLE = re.compile("[!-~]*")  # ASCII without white space (RFC 9110, section 5.5)

# A scheme, a host and optionally a port, as browsers write them in the Origin header (RFC 6454,
# section 6.2): lower case, an IPv6 address in brackets, nothing after it.
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
ANY_ORIGIN = "*"


def read_keys(text: str) -> tuple[SecretStr, ...]:
    """Return the keys of a text, separated by commas.

    Raises:
        ValueError: a key is invalid. The message does not contain it.
    """
    keys = text.split(",")
    for place, key in enumerate(keys, 1):
        if error := _key_error(key):
            raise ValueError(
                f"key {place} of {len(keys)} {error}; expected {SHORTEST_KEY} to {LONGEST_KEY} "
                "ASCII characters, with no space and no comma"
            )
    return tuple(map(SecretStr, keys))


def _key_error(key: str) -> str:
    if not key:
        return "is empty"
    if any(map(str.isspace, key)):
        return "has white space in it or around it"
    if not VISIBLE.fullmatch(key):
        return "has a character that no header can carry"
    return "" if SHORTEST_KEY <= len(key) <= LONGEST_KEY else f"has {len(key)} characters"


def read_origins(text: str) -> tuple[str, ...]:
    """Return the origins of a text, separated by commas, or `*` for any.

    Raises:
        ValueError: an origin is invalid.
    """
    origins = tuple(text.split(","))
    for origin in origins:
        if not ORIGIN.fullmatch(origin) and origins != (ANY_ORIGIN,):
            raise ValueError(
                f"{origin!r} is not an origin: expected one such as https://shop.example or "
                "http://localhost:8080, several separated by commas without spaces, or * for any"
            )
    return origins


def _read_if_text(read: Callable[[str], object]) -> BeforeValidator:
    """Return a validator that parses text, and passes defaults, which are not text, on."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


Keys = Annotated[tuple[SecretStr, ...], NoDecode, _read_if_text(read_keys)]
Origins = Annotated[tuple[str, ...], NoDecode, _read_if_text(read_origins)]


class ServiceSettings(BaseSettings):
    """Settings of one server; docs/operations.md has them as a table.

    Raises:
        pydantic.ValidationError: a value is invalid.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    device: Device = Field(
        "auto", description="device to run on; auto: CUDA if available, else the CPU"
    )
    model: Path | None = Field(
        None, description="a model.onnx to serve alone; unset: all models of FASHION_MODELS"
    )
    models: Path = Field(
        RELEASED_MODEL.parent.parent,
        description="folder of models: NAME/model.onnx, or NAME/1/model.onnx, NAME/2/model.onnx "
        "for versions",
    )
    default_model: str | None = Field(
        None,
        description=f"model for requests that name none; unset: {RELEASED_NAME}, or the only one",
    )
    model_control: bool = Field(
        False, description="whether requests may load and unload models of FASHION_MODELS"
    )
    max_body_bytes: int = Field(
        10 * 2**20,
        ge=1,
        le=2**30,
        description="largest request body in bytes; larger ones get 413",
    )
    max_image_pixels: int = Field(
        64_000_000, ge=1, le=10**9, description="largest width times height; larger: 413"
    )
    max_batch: int = Field(
        1024,
        ge=1,
        le=2**16,
        description="most images in one run of the model, at most 128 on the CPU; a request with "
        "more is split",
    )
    max_concurrency: int = Field(
        256,
        ge=1,
        le=2**16,
        description="most requests that run or wait in a worker; more get 429",
    )
    timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="longest time for a request in seconds, with its upload; then 408 or 504",
    )
    keep_alive_seconds: float = Field(
        75.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds that a connection may wait for its client's next request",
    )
    drain_seconds: float = Field(
        1.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds to keep serving after SIGTERM, while not ready",
    )
    access_log: Literal["text", "json", "off"] = Field(
        "text", description="one line for each request on standard output, in this form"
    )
    api_key: Keys = Field(
        (), description="keys, separated by commas; a request needs one of them; none: no key"
    )
    cors_origins: Origins = Field(
        (),
        description="origins, separated by commas, whose pages may send requests; *: any",
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="serve /metrics on this port instead of the service's"
    )
    grpc_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="serve the Open Inference Protocol over gRPC on this port too",
    )
    watch: bool = Field(
        True, description="report the distance of each image from the model's training set"
    )
    tracing: bool = Field(
        False, description="send OpenTelemetry spans of each request, by OTLP over HTTP"
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="threads of one run of the model on the CPU; unset: measured at the start",
    )
    workers: int = Field(1, ge=1, le=1024, description="server processes")

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        """Replace an empty value by the default; not for a key, which would allow all requests."""
        name = str(info.field_name)
        return value if value != "" or name in SECRET else cls.model_fields[name].default


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable with our prefix that is not a setting.

    It names the most similar setting, but not the value, which may be a key.
    """
    known = [PREFIX + name.upper() for name in ServiceSettings.model_fields]
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or OTHERS.fullmatch(upper):
            continue
        if LINK.match(value):
            continue
        near = get_close_matches(upper, known, n=1, cutoff=0.0)[0]
        yield f"{name} is not a setting and has no effect; the most similar setting is {near}"


def describe_faults(error: ValidationError) -> str:
    """Return text that names each invalid variable, its value, and what is expected."""
    return "; ".join(
        f"{_shown(str(detail['loc'][0]), detail['input'])}: {detail['msg']}"
        for detail in error.errors()
    )


def _shown(name: str, value: object) -> str:
    variable = PREFIX + name.upper()
    return variable if name in SECRET else f"{variable}={value}"
