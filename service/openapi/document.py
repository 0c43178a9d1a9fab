"""The OpenAPI description of the whole service.

BentoML's own description covers only the forms that its clients send. It lacks images sent as the
body, our errors, headers and probes, and all routes that are not BentoML's.
"""

from typing import Any

from pydantic import TypeAdapter

from service.inference.results import Classification, Predictions
from service.openapi import classification, open_inference, operations
from service.openapi.components import COMPONENTS, OpenAPIObject
from service.openapi.security import with_keys
from service.settings import ServiceSettings
from service.version import SERVER_VERSION

VERSION = "3.0.3"  # of OpenAPI; most client generators support no newer one
INFO = {
    "title": "Fashion LeNet-BN",
    "version": SERVER_VERSION,
    "description": "Says what garment a picture shows. Every error is "
    '`{"error": "what was wrong and what is expected"}`.',
}
TAGS = {
    classification.TAG: "Classify pictures, or images as numbers.",
    open_inference.TAG: "The protocol of tritonclient and KServe's client.",
    operations.TAG: "Probes and metrics.",
    operations.PAGE_TAG: "A page to try the model.",
}


class OpenAPI:
    """The description, with the interface that BentoML expects."""

    def __init__(self, settings: ServiceSettings | None = None) -> None:
        """Build the description, without BentoML's own.

        Args:
            settings: of the server; None for the defaults.
        """
        self.content: OpenAPIObject = {
            "openapi": VERSION,
            "info": INFO,
            # Relative to the description's URL, so that a proxy may strip a prefix.
            "servers": [{"url": "./"}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": {
                **classification.paths(),
                **open_inference.paths(),
                **operations.paths(),
            },
            "components": COMPONENTS
            | {"schemas": COMPONENTS["schemas"] | open_inference.SCHEMAS | _answers()},
        }

        if settings and settings.metrics_port:
            del self.content["paths"]["/metrics"]
        if settings and settings.api_key:
            self.content = with_keys(self.content)

    def asdict(self) -> dict[str, Any]:
        """Return the description as JSON types."""
        return self.content


def _answers() -> OpenAPIObject:
    """Return the schemas of the typed responses."""
    kinds: tuple[Any, ...] = (Classification, Predictions)
    _, schemas = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    found: OpenAPIObject = schemas["$defs"]
    return found
