"""The OpenAPI description of the whole service.

BentoML's own knows the forms that its clients send. It knows nothing of pictures sent as the body
itself, of our errors, headers and probes, or of the routes that are not its own.
"""

from typing import Any

from pydantic import TypeAdapter

from service.inference.results import Classification, Predictions
from service.openapi import classification, open_inference, operations
from service.openapi.components import COMPONENTS, OpenAPIObject
from service.openapi.security import with_keys
from service.settings import ServiceSettings
from service.version import SERVER_VERSION

VERSION = "3.0.3"  # of OpenAPI; most generators of clients know no newer one
INFO = {
    "title": "Fashion LeNet-BN",
    "version": SERVER_VERSION,
    "description": "Says what garment a picture shows. Every error is "
    '`{"error": "what was wrong and what would be right"}`.',
}
TAGS = {
    classification.TAG: "Pictures and numbers in, garments out.",
    open_inference.TAG: "What tritonclient and KServe's client speak.",
    operations.TAG: "Probes and metrics.",
    operations.PAGE_TAG: "A page to try the model on.",
}


class OpenAPI:
    """A finished description, in the shape that BentoML asks for."""

    def __init__(self, settings: ServiceSettings | None = None) -> None:
        """Describe the service; nothing of BentoML's own description is in it.

        Args:
            settings: of the server; None for one with the defaults.
        """
        self.content: OpenAPIObject = {
            "openapi": VERSION,
            "info": INFO,
            # Where the description was loaded from, be it behind a proxy that strips a prefix.
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
        """Return the description as what JSON is made of."""
        return self.content


def _answers() -> OpenAPIObject:
    """Return the schemas of the answers that are typed."""
    kinds: tuple[Any, ...] = (Classification, Predictions)
    _, schemas = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    found: OpenAPIObject = schemas["$defs"]
    return found
