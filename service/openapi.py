"""The OpenAPI description of the service: BentoML's, completed.

BentoML knows the form that `/classify` takes and what it answers. It does not know of
pictures sent as the body itself, of our errors, or of what our probes say.
"""

from http import HTTPStatus
from typing import Any

from service.errors import InvalidInput, NotReady, RequestError, TooLarge, UnsupportedType
from service.images import FORMATS

TITLE = "Fashion LeNet-BN"
DESCRIPTION = (
    'Says what garment a picture shows. Every error is `{"error": "what was wrong and what '
    'would be right"}`.'
)
BINARY = {"schema": {"type": "string", "format": "binary"}}
ERROR = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}},
        }
    }
}
STATUS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "string"},
                "model": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
                },
                "device": {"type": "string", "enum": ["cpu", "cuda"]},
                "execution_provider": {"type": "string"},
            },
        }
    }
}
PROBES = {
    "/livez": ("The process runs.", ()),
    "/readyz": ("The model is loaded and has passed its check.", (NotReady,)),
    "/healthz": ("The same as /readyz.", (NotReady,)),
}


class OpenAPI:
    """A finished description, in the shape that BentoML asks for."""

    def __init__(self, bentoml_spec: dict[str, Any]) -> None:
        """Complete BentoML's own description; it is left as it was."""
        classify = bentoml_spec["paths"]["/classify"]["post"]
        body = {**classify["requestBody"]["content"], **dict.fromkeys(FORMATS, BINARY)}
        responses = {
            "200": classify["responses"][200],
            **_errors(InvalidInput, TooLarge, UnsupportedType, NotReady),
        }
        schemas = bentoml_spec["components"]["schemas"]
        self.content = {
            **bentoml_spec,
            "info": {"title": TITLE, "version": "1", "description": DESCRIPTION},
            "paths": {
                "/classify": {
                    "post": {
                        **classify,
                        "requestBody": {"required": True, "content": body},
                        "responses": responses,
                    }
                },
                **{path: _probe(*texts) for path, texts in PROBES.items()},
                "/metrics": _get("Metrics in Prometheus's text format.", {"text/plain": {}}),
            },
            "components": {"schemas": {"ModelName": schemas["ModelName"]}},
        }

    def asdict(self) -> dict[str, Any]:
        """Return the description as what JSON is made of."""
        return self.content


def _probe(description: str, errors: tuple[type[RequestError], ...]) -> dict[str, Any]:
    return _get(description, STATUS, *errors)


def _get(description: str, content: dict[str, Any], *errors: type[RequestError]) -> dict[str, Any]:
    return {
        "get": {
            "tags": ["Infrastructure"],
            "description": description,
            "responses": {"200": {"description": description, "content": content}}
            | _errors(*errors),
        }
    }


def _errors(*kinds: type[RequestError]) -> dict[str, Any]:
    return {
        str(int(kind.status)): {"description": _reason(kind.status, kind), "content": ERROR}
        for kind in kinds
    }


def _reason(status: HTTPStatus, kind: type[RequestError]) -> str:
    return f"{status.phrase}: {kind.__doc__}"
