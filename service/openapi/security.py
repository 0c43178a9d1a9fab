"""The OpenAPI description of the API keys, if there are any (OpenAPI 3.0.3, section 4.7.27)."""

from service.errors import Unauthorized
from service.middleware.authentication import needs_key
from service.openapi.components import OpenAPIObject, error_answer

SCHEMES: OpenAPIObject = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def with_keys(description: OpenAPIObject) -> OpenAPIObject:
    """Return a description in which protected routes have the key and the answer without one."""
    components = description["components"] | {"securitySchemes": SCHEMES}
    paths = {
        path: {method: _closed(path, method, found) for method, found in methods.items()}
        for path, methods in description["paths"].items()
    }
    return description | {"components": components, "paths": paths}


def _closed(path: str, method: str, operation: OpenAPIObject) -> OpenAPIObject:
    if not needs_key(method.upper(), path):
        return operation
    refusal = error_answer(Unauthorized.__doc__ or "")
    return operation | {
        "security": [{name: []} for name in SCHEMES],  # one of them is enough
        "responses": operation["responses"] | {"401": refusal},
    }
