"""The OpenAPI description of the probes, the metrics and the demonstration."""

from service.errors import InvalidInput, NotReady, TooLarge, UnsupportedType
from service.openapi.classification import MODE, PICTURE
from service.openapi.components import (
    BINARY,
    JSON,
    TEXT,
    OpenAPIObject,
    answers,
    content,
    operation,
)

TAG, PAGE_TAG = "Operation", "Demonstration"

LIVE = {"status": "live"}
READY = {
    "status": "ready",
    "model": {"name": "fashion_lenet", "version": "1.1.0"},
    "device": "cpu",
    "execution_provider": "CPUExecutionProvider",
}
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
    "required": list(READY),
    "properties": {
        "status": {"type": "string", "enum": ["ready"]},
        "model": MODEL,
        "device": {"type": "string", "enum": ["cpu", "cuda"]},
        "execution_provider": {"type": "string", "description": "ONNX Runtime's name for it."},
    },
}
METRICS = 'fashion_requests_total{route="/classify",status="200"} 42.0\n'
READY_TEXT = "The model is loaded and has passed its check."


def paths() -> OpenAPIObject:
    """Return the paths of the operators' routes and of the demonstration page."""
    live = answers("The process runs.", content(JSON, LIVE_SCHEMA, LIVE))
    ready = answers(READY_TEXT, content(JSON, READY_SCHEMA, READY), [NotReady])
    metrics = answers("The metrics.", content("text/plain", TEXT, METRICS))
    return {
        "/livez": {"get": operation("livez", TAG, "Whether the process runs", live)},
        "/readyz": {"get": operation("readyz", TAG, "Whether it can classify", ready)},
        "/healthz": {"get": operation("healthz", TAG, "The same as /readyz", ready)},
        "/metrics": {
            "get": operation("metrics", TAG, "Metrics in Prometheus's text format", metrics)
        },
        **_demonstration(),
    }


def _demonstration() -> OpenAPIObject:
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
        "A grey picture of 28 x 28.",
        content("image/png", BINARY),
        [InvalidInput, TooLarge, UnsupportedType],
    )
    return {
        "/ui": {"get": operation("ui", PAGE_TAG, "A page to try the model", page)},
        "/ui/{path}": {"get": operation("ui_file", PAGE_TAG, "The page's own files", file, [path])},
        "/ui/seen": {
            "post": operation(
                "ui_seen", PAGE_TAG, "What the model sees of a picture", seen, [MODE], PICTURE
            )
        },
    }
