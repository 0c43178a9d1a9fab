"""The OpenAPI description of the whole service.

BentoML's own knows the forms that its clients send. It knows nothing of pictures sent as the body
itself, of our errors, headers and probes, or of the routes that are not its own.
"""

from typing import Any

from pydantic import TypeAdapter

from service import openapi_inference, openapi_operations, openapi_pictures
from service.openapi_parts import COMPONENTS, Described
from service.openapi_security import with_keys
from service.results import Classification, Predictions
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
    openapi_pictures.TAG: "Pictures and numbers in, garments out.",
    openapi_inference.TAG: "What tritonclient and KServe's client speak.",
    openapi_operations.TAG: "Probes and metrics.",
    openapi_operations.PAGE_TAG: "A page to try the model on.",
}


class OpenAPI:
    """A finished description, in the shape that BentoML asks for."""

    def __init__(self, settings: ServiceSettings | None = None) -> None:
        """Describe the service; nothing of BentoML's own description is in it.

        Args:
            settings: of the server; None for one with the defaults.
        """
        self.content: Described = {
            "openapi": VERSION,
            "info": INFO,
            # Where the description was loaded from, be it behind a proxy that strips a prefix.
            "servers": [{"url": "./"}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": {
                **openapi_pictures.describe(),
                **openapi_inference.describe(),
                **openapi_operations.describe(),
            },
            "components": COMPONENTS
            | {"schemas": COMPONENTS["schemas"] | openapi_inference.SCHEMAS | _answers()},
        }

        if settings and settings.metrics_port:
            del self.content["paths"]["/metrics"]
        if settings and settings.api_key:
            self.content = with_keys(self.content)

    def asdict(self) -> dict[str, Any]:
        """Return the description as what JSON is made of."""
        return self.content


def _answers() -> Described:
    """Return the schemas of the answers that are typed."""
    kinds: tuple[Any, ...] = (Classification, Predictions)
    _, schemas = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    found: Described = schemas["$defs"]
    return found
