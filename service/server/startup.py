"""Start of `bentoml serve`: checks with one-line errors, and the log line once it listens."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import Any

import _bentoml_impl.server as bentoml_server  # type: ignore[import-untyped]
import _bentoml_impl.server.serving as bentoml_serving  # type: ignore[import-untyped]
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.exceptions import BentoMLConfigException
from pydantic import ValidationError

from service.errors import ModelError, ServiceError, StartError, TracingError
from service.grpc.listening import Listening
from service.inference import worker_group
from service.runtime.cuda import missing_part
from service.runtime.loading import within_time
from service.runtime.onnx_model import load_model
from service.runtime.repository import ModelFile, default_name, find_models
from service.server import lifeline
from service.server.listening import Address, cannot_listen, check_tls, hold_port
from service.server.supervisor import install_supervisor
from service.settings import ServiceSettings, describe_faults, unknown_variables
from service.telemetry import multiprocess

logger = logging.getLogger("bentoml.fashion_lenet")

METRICS = "fashion_lenet_metrics"  # in BENTOML_HOME
MAX_LINE_LENGTH = 1000  # characters of a line that says why the start failed
bentomls_serve_http = bentoml_serving.serve_http


def read_settings() -> ServiceSettings:
    """Return the settings, read from the environment.

    Raises:
        BentoMLConfigException: names every variable that is wrong.
    """
    try:
        return ServiceSettings()
    except ValidationError as error:
        raise BentoMLConfigException(_one_line(describe_faults(error))) from None


def take_over() -> None:
    """Make `bentoml serve` call this module's `serve_http`, which calls BentoML's."""
    bentoml_serving.serve_http = bentoml_server.serve_http = serve_http


@wraps(bentomls_serve_http)
def serve_http(*args: Any, **kwargs: Any) -> Any:
    """Check that the server can start, and start it.

    Raises:
        BentoMLConfigException: it cannot; `bentoml serve` shows the reason as one line.
    """
    with _one_line_each():
        settings = read_settings()
        for warning in unknown_variables(os.environ):
            logger.warning("%s", _one_line(warning))
        http = BentoMLContainer.http
        host, port = (
            getattr(http, name).get() if kwargs.get(name) is None else kwargs[name]
            for name in ("host", "port")
        )
        address = Address.find(host, port)
        tls = _tls(kwargs)
        check_tls(tls)
        if settings.tracing:
            check_tracing()
        models = find_models(settings)
        model = try_models(settings, models)
        folder = multiprocess.make_folder(Path(BentoMLContainer.bentoml_home.get()) / METRICS)
        BentoMLContainer.prometheus_multiproc_dir.set(str(folder))
        worker_group.create(folder.parent / "models", models)
        if settings.metrics_port is not None:
            _serve_metrics(address, settings.metrics_port, folder)
        held = _reserve_grpc_port(settings, address, tls)
    lifeline.hold()
    install_supervisor(
        partial(_say_what_serves, settings, model, "https" if tls.get("ssl_certfile") else "http")
    )
    with held:
        return bentomls_serve_http(*args, **{**kwargs, "host": address.host, "port": address.port})


def try_models(settings: ServiceSettings, models: Mapping[str, Sequence[ModelFile]]) -> str:
    """Load a model once, to reject a server that could serve none before any worker starts.

    The default model is tried first; if it fails, the others may still be served.

    Returns: what is served, as text for the start's log line.

    Raises:
        ModelError: none can be served; the reason is the default model's.
    """
    if settings.device == "auto" and missing_part() is not None:
        settings = settings.model_copy(update={"device": "cpu"})  # a worker logs a warning
    default = default_name(settings, models)
    reasons = []
    for name in sorted(models, key=lambda name: name != default):
        for file in reversed(models[name]):
            try:
                served = _try_model(settings, file)
            except ModelError as error:
                reasons.append(error)
            else:
                others = len(models) - 1
                return f"{served}{f' and {others} more' if others else ''}"
    raise reasons[0]


def _try_model(settings: ServiceSettings, file: ModelFile) -> str:
    """Load a model, and return its name, its version and the device.

    Raises:
        ModelError: it cannot be served.
    """
    if settings.device == "cpu" or missing_part() is not None:
        return _try_to_load(settings, file)
    # In a child process, because CUDA keeps its memory until the process ends.
    folder = str(Path(__file__).parents[2])
    if folder not in sys.path:  # BentoML removes a Bento's folder after loading it
        sys.path.append(folder)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_try_to_load, settings, file).result()


def check_tracing() -> None:
    """Check that spans can be sent.

    Raises:
        StartError: a package is missing, or an OpenTelemetry variable is invalid.
    """
    try:
        from service.telemetry.tracing import tracer_provider

        tracer_provider().shutdown()
    except ImportError as error:
        remedy = "install requirements/serve.lock"
        raise StartError(f"FASHION_TRACING=1: {error}: {remedy}") from error
    except TracingError as error:
        raise StartError(f"FASHION_TRACING=1: {error}") from error


def _try_to_load(settings: ServiceSettings, file: ModelFile) -> str:
    model = within_time(partial(load_model, settings, file))
    return _one_line(f"{model.name} {model.version} on {model.device}")


def _serve_metrics(address: Address, port: int, folder: Path) -> None:
    """Serve the metrics of all workers from this process, their parent.

    Raises:
        StartError: the port cannot be used.
    """
    if port == address.port:
        raise StartError(f"FASHION_METRICS_PORT={port} is the port of the service: choose another")
    # Imported here, as in `WebService.to_asgi`: a worker imports this module first of all.
    from service.server.metrics_port import serve_metrics

    try:
        serve_metrics(address.host, port, str(folder))
    except OSError as error:
        raise cannot_listen(f"FASHION_METRICS_PORT={port}", error) from error


def _reserve_grpc_port(
    settings: ServiceSettings, address: Address, tls: dict[str, Any]
) -> AbstractContextManager[object]:
    """Return a context in which the port for gRPC is the server's, if it has one.

    Raises:
        StartError: the port cannot be used.
    """
    port = settings.grpc_port
    if port is None:
        return nullcontext()
    if port in (address.port, settings.metrics_port):
        taken = "the port of the service" if port == address.port else "FASHION_METRICS_PORT too"
        raise StartError(f"FASHION_GRPC_PORT={port} is {taken}: choose another")
    listening = Listening.choose(str(Address(address.host, port)), tls)
    try:
        held = hold_port(address.host, port)
    except OSError as error:
        raise cannot_listen(f"FASHION_GRPC_PORT={port}", error) from error
    listening.tell_workers()
    return held


def _tls(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the TLS options as BentoML reads them: from flags, else from its configuration."""
    names = (
        "certfile",
        "keyfile",
        "keyfile_password",
        "version",
        "cert_reqs",
        "ca_certs",
        "ciphers",
    )
    configured = {f"ssl_{name}": getattr(BentoMLContainer.ssl, name).get() for name in names}
    given = {name: kwargs[name] for name in configured if kwargs.get(name)}
    return {**{name: value for name, value in configured.items() if value}, **given}


def _say_what_serves(settings: ServiceSettings, model: str, scheme: str, address: Address) -> None:
    if not address.is_local and not settings.api_key:
        logger.warning("%s can be used without a key: set FASHION_API_KEY to require one.", address)
    url = address.url(scheme)
    logger.info(
        "Serving model %s at %s%s, with %d worker%s and %s; to try it: %s/ui (Ctrl+C stops)",
        model,
        url,
        " and all interfaces" if address.is_everywhere else "",
        settings.workers,
        "s" if settings.workers > 1 else "",
        "keys" if settings.api_key else "no key",
        url,
    )
    if settings.grpc_port is not None:
        logger.info("Serving gRPC at %s", Address(address.host, settings.grpc_port))


@contextmanager
def _one_line_each() -> Iterator[None]:
    """Convert every start error to one that BentoML shows as a single line."""
    try:
        yield
    except (ServiceError, OSError) as error:
        raise BentoMLConfigException(_one_line(str(error))) from error


def _one_line(text: str) -> str:
    words = " ".join(text.split())[:MAX_LINE_LENGTH]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
