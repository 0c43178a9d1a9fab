"""The OpenAPI description of the whole service.

BentoML's own description covers only the forms that its clients send. It lacks images sent as the
body, our errors, headers and probes, and all routes that are not BentoML's.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from service.inference.results import Classification, Predictions
from service.openapi import classification, open_inference, operations
from service.openapi.components import COMPONENTS, OpenAPIObject
from service.openapi.model_facts import NO_MODEL, ModelFacts
from service.openapi.security import with_keys
from service.runtime.onnx_model import OnnxModel
from service.settings import ServiceSettings
from service.version import SERVER, SERVER_VERSION

VERSION = "3.0.3"  # of OpenAPI; most client generators support no newer one
TAGS = {
    classification.TAG: "Classify pictures, or images as numbers.",
    open_inference.TAG: "The protocol of tritonclient and KServe's client.",
    operations.TAG: "Probes and metrics.",
    operations.PAGE_TAG: "A page to try the model.",
}


class OpenAPI:
    """The description, with the interface that BentoML expects."""

    def __init__(
        self,
        settings: ServiceSettings | None = None,
        model: OnnxModel | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Build the description, without BentoML's own.

        Args:
            settings: of the server; None for the defaults.
            model: the default one, whose shape, classes and examples it has; None where it is not
                ready.
            names: of all models that are served.
        """
        facts = ModelFacts.of(model, names) if model else NO_MODEL
        self.content: OpenAPIObject = {
            "openapi": VERSION,
            "info": {
                "title": SERVER,
                "version": SERVER_VERSION,
                "description": f"{facts.purpose} Every error is "
                '`{"error": "what was wrong and what is expected"}`.',
            },
            # Relative to the description's URL, so that a proxy may strip a prefix.
            "servers": [{"url": "./"}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": {
                **classification.paths(facts),
                **open_inference.paths(facts),
                **operations.paths(facts),
            },
            "components": COMPONENTS
            | {"schemas": COMPONENTS["schemas"] | open_inference.schemas(facts) | _answers()},
        }

        if settings and settings.metrics_port:
            del self.content["paths"]["/metrics"]
        if settings and settings.api_key:
            self.content = with_keys(self.content)

    def asdict(self) -> dict[str, Any]:
        """Return the description as JSON types."""
        return self.content


@cache
def _answers() -> OpenAPIObject:
    """Return the schemas of the typed responses; no model changes them, and pydantic takes 4 ms."""
    kinds: tuple[Any, ...] = (Classification, Predictions)
    _, schemas = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    found: OpenAPIObject = schemas["$defs"]
    return found
