"""The OpenAPI description of the probes, the metrics and the demonstration."""

from service.errors import InvalidInput, NotFound, NotReady, TooLarge, UnsupportedType
from service.openapi.classification import PICTURE, mode, model_parameter
from service.openapi.components import (
    BINARY,
    JSON,
    TEXT,
    OpenAPIObject,
    answers,
    content,
    operation,
)
from service.openapi.model_facts import ModelFacts

TAG, PAGE_TAG = "Operation", "Demonstration"

LIVE = {"status": "live"}
MODEL: OpenAPIObject = {
    "type": "object",
    "required": ["name", "version"],
    "properties": {"name": TEXT, "version": TEXT},
}
LIVE_SCHEMA: OpenAPIObject = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "enum": ["live"]}},
}
READY_SCHEMA: OpenAPIObject = {
    "type": "object",
    "required": ["status", "model", "device", "execution_provider"],
    "properties": {
        "status": {"type": "string", "enum": ["ready"]},
        "model": MODEL,
        "device": {"type": "string", "enum": ["cpu", "cuda"]},
        "execution_provider": {"type": "string", "description": "ONNX Runtime's name for it."},
    },
}
INTEGER: OpenAPIObject = {"type": "integer", "minimum": 1}
MODEL_PAGE: OpenAPIObject = {
    "type": "object",
    "required": ["models", "name", "version", "labels", "image", "pipeline", "modes", "samples"],
    "properties": {
        "models": {"type": "array", "items": TEXT},
        "name": TEXT,
        "version": TEXT,
        "labels": {"type": "array", "items": TEXT},
        "image": {
            "type": "object",
            "required": ["channels", "height", "width"],
            "properties": dict.fromkeys(("channels", "height", "width"), INTEGER),
        },
        "pipeline": TEXT,
        "modes": {"type": "array", "items": TEXT},
        "samples": {
            "type": "array",
            "description": "Golden samples of different classes, each as a PNG in Base64.",
            "items": {
                "type": "object",
                "required": ["label", "png"],
                "properties": {"label": TEXT, "png": {"type": "string", "format": "byte"}},
            },
        },
    },
}
METRICS = 'fashion_requests_total{route="/classify",status="200"} 42.0\n'
READY_TEXT = "The default model is loaded and has passed its check."


def paths(model: ModelFacts) -> OpenAPIObject:
    """Return the paths of the operators' routes and of the demonstration page."""
    example = {
        "status": "ready",
        "model": {"name": model.name, "version": model.version},
        "device": "cpu",
        "execution_provider": "CPUExecutionProvider",
    }
    live = answers("The process runs.", content(JSON, LIVE_SCHEMA, LIVE))
    ready = answers(READY_TEXT, content(JSON, READY_SCHEMA, example), [NotReady])
    metrics = answers("The metrics.", content("text/plain", TEXT, METRICS))
    return {
        "/livez": {"get": operation("livez", TAG, "Whether the process runs", live)},
        "/readyz": {"get": operation("readyz", TAG, "Whether it can classify", ready)},
        "/healthz": {"get": operation("healthz", TAG, "The same as /readyz", ready)},
        "/metrics": {
            "get": operation("metrics", TAG, "Metrics in Prometheus's text format", metrics)
        },
        **_demonstration(model),
    }


def _demonstration(model: ModelFacts) -> OpenAPIObject:
    page = answers("The page.", content("text/html", TEXT))
    file = answers("The file.", {"*/*": {"schema": BINARY}})
    path = {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "The file's name.",
        "schema": TEXT,
        "example": "ui.js",
    }
    seen = answers(
        f"The model's image, {' x '.join(map(str, model.axes)) or 'C x H x W'}, as a PNG.",
        content("image/png", BINARY),
        [InvalidInput, NotFound, TooLarge, UnsupportedType],
    )
    facts = answers("The model.", content(JSON, MODEL_PAGE), [InvalidInput, NotFound, NotReady])
    return {
        "/ui": {"get": operation("ui", PAGE_TAG, "A page to try the model", page)},
        "/ui/{path}": {"get": operation("ui_file", PAGE_TAG, "The page's own files", file, [path])},
        "/ui/model": {
            "get": operation(
                "ui_model",
                PAGE_TAG,
                "What the page says of the model",
                facts,
                [model_parameter(model)],
            )
        },
        "/ui/seen": {
            "post": operation(
                "ui_seen",
                PAGE_TAG,
                "What the model sees of a picture",
                seen,
                [model_parameter(model), mode(model)],
                PICTURE,
            )
        },
    }
