"""FASHION_... variables: read, checked, and named in errors."""

from pathlib import Path

import pytest
from bentoml.exceptions import BentoMLConfigException
from pydantic import SecretStr, ValidationError

from service.runtime.repository import default_file
from service.server.startup import read_settings
from service.settings import RELEASED_MODEL, ServiceSettings, unknown_variables

KEY, ORIGIN = "settings-key-0123456789", "https://shop.example"

VARIABLES = (
    "DEVICE",
    "MODEL",
    "MAX_BODY_BYTES",
    "MAX_IMAGE_PIXELS",
    "WORKERS",
    "TRACING",
    "DRAIN_SECONDS",
    "WATCH",
    "API_KEY",
    "CORS_ORIGINS",
    "GRPC_PORT",
    "METRICS_PORT",
    "MAX_CONCURRENCY",
    "TIMEOUT_SECONDS",
    "KEEP_ALIVE_SECONDS",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"FASHION_{name}", raising=False)


def test_the_defaults_serve_the_released_model() -> None:
    settings = ServiceSettings()
    assert settings.device == "auto"
    assert default_file(settings).path == RELEASED_MODEL
    assert RELEASED_MODEL.is_file()
    assert settings.max_body_bytes == 10 * 2**20
    assert settings.max_image_pixels == 64_000_000
    assert settings.workers == 1
    assert not settings.tracing
    assert settings.watch
    assert settings.api_key == ()
    assert settings.cors_origins == ()
    assert settings.metrics_port is None
    assert settings.max_concurrency == 256
    assert settings.timeout_seconds == 30
    assert settings.keep_alive_seconds == 75


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (
        *("cpu", "/there/model.onnx", "1000", "784", "3", "1", "2.5", "0"),
        *(KEY, ORIGIN, "8001", "8002", "64", "0.5", "90"),
    )
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(f"FASHION_{name}", value)
    assert read_settings() == ServiceSettings(
        device="cpu",
        model=Path("/there/model.onnx"),
        max_body_bytes=1000,
        max_image_pixels=784,
        workers=3,
        tracing=True,
        drain_seconds=2.5,
        watch=False,
        api_key=(SecretStr(KEY),),
        cors_origins=(ORIGIN,),
        grpc_port=8001,
        metrics_port=8002,
        max_concurrency=64,
        timeout_seconds=0.5,
        keep_alive_seconds=90,
    )


def test_variables_of_others_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "nonsense")
    assert read_settings() == ServiceSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("DEVICE", value) for value in ("gpu", "CUDA", "cuda:0")),
        *(("MAX_BODY_BYTES", value) for value in ("0", "-1", "ten", "1.5", "1073741825")),
        *(("MAX_IMAGE_PIXELS", value) for value in ("0", "many", "1000000001")),
        *(("WATCH", value) for value in ("maybe", "2")),
        *(("METRICS_PORT", value) for value in ("0", "65536", "many", "tcp://10.0.0.7:80")),
        *(("CORS_ORIGINS", value) for value in ("shop.example", "https://shop.example/")),
        *(("TRACING", value) for value in ("maybe", "2")),
        *(("DRAIN_SECONDS", value) for value in ("-1", "inf", "nan", "long", "3601", "1e308")),
        *(("WORKERS", value) for value in ("0", "-2", "two", "1025", "100000")),
        *(("MAX_BATCH", value) for value in ("0", "all", "65537")),
        *(("MAX_CONCURRENCY", value) for value in ("0", "many", "1.5", "65537")),
        *(
            ("TIMEOUT_SECONDS", value)
            for value in ("0", "-1", "inf", "nan", "soon", "3601", "1e308")
        ),
        *(("KEEP_ALIVE_SECONDS", value) for value in ("0", "-1", "3601", "inf", "nan", "long")),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FASHION_{name}", value)
    with pytest.raises(BentoMLConfigException) as caught:
        read_settings()
    assert str(caught.value).startswith(f"FASHION_{name}={value}: ")


def test_no_number_is_without_a_limit() -> None:
    for name, field in ServiceSettings.model_fields.items():
        if field.annotation in (int, float, int | None):
            assert any(hasattr(limit, "le") for limit in field.metadata), name


@pytest.mark.parametrize("name", [name.upper() for name in ServiceSettings.model_fields])
def test_what_is_empty_is_unset_but_no_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FASHION_{name}", "")
    if name == "API_KEY":
        with pytest.raises(
            BentoMLConfigException, match=r"FASHION_API_KEY: .* key 1 of 1 is empty"
        ):
            read_settings()
    else:
        assert read_settings() == ServiceSettings.model_construct()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FASHION_MAX_CONCURENCY", "FASHION_MAX_CONCURRENCY"),
        ("FASHION_API_KEYS", "FASHION_API_KEY"),
        ("FASHION_WORKER", "FASHION_WORKERS"),
        ("fashion_metric_port", "FASHION_METRICS_PORT"),
        ("FASHION_METRIC_PORT", "FASHION_METRICS_PORT"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_without_its_value(name: str, meant: str) -> None:
    (warning,) = unknown_variables({"PATH": "/bin", name: "value", "FASHION_DEVICE": "cpu"})
    assert warning.startswith(f"{name} is not a setting")
    assert warning.endswith(meant)
    assert "value" not in warning


def test_variables_of_others_are_not_warned_of() -> None:
    others = {
        "FASHION_MNIST_DIR": "/data",
        "FASHION_LENET_SERVICE_HOST": "10.0.0.7",
        "FASHION_LENET_SERVICE_PORT": "80",
        "FASHION_LENET_SERVICE_PORT_HTTP": "80",
        "FASHION_LENET_PORT": "tcp://10.0.0.7:80",
        "FASHION_LENET_PORT_80_TCP": "tcp://10.0.0.7:80",
        "FASHION_LENET_PORT_80_TCP_PROTO": "tcp",
        "fashion_device": "cpu",
    }
    assert list(unknown_variables(others)) == []


def test_all_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_DEVICE", "gpu")
    monkeypatch.setenv("FASHION_WORKERS", "0")
    with pytest.raises(BentoMLConfigException) as caught:
        read_settings()
    first, second = str(caught.value).split("; ")
    assert first == "FASHION_DEVICE=gpu: Input should be 'auto', 'cpu' or 'cuda'"
    assert second == "FASHION_WORKERS=0: Input should be greater than or equal to 1"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ServiceSettings().workers = 2  # type: ignore[misc]
