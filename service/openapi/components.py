"""What the descriptions of all routes are made of (OpenAPI 3.0.3, sections 4.7.9 to 4.7.20)."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.errors import RequestError
from service.telemetry.request_id import ACCEPTED

OpenAPIObject = dict[str, Any]

JSON, OCTETS = "application/json", "application/octet-stream"
TEXT: OpenAPIObject = {"type": "string"}
BINARY: OpenAPIObject = {"type": "string", "format": "binary"}

# Every request may have the first. Every answer has both of the others, and what a model answered
# the third.
REQUEST_ID: OpenAPIObject = {"$ref": "#/components/parameters/RequestID"}
HEADERS: OpenAPIObject = {
    "X-Request-ID": {"$ref": "#/components/headers/RequestID"},
    "Server-Timing": {"$ref": "#/components/headers/ServerTiming"},
    "X-Model-Version": {"$ref": "#/components/headers/ModelVersion"},
}

COMPONENTS: OpenAPIObject = {
    "parameters": {
        "RequestID": {
            "name": "X-Request-ID",
            "in": "header",
            "description": "Names the request in the answer and in the service's log. Another "
            "value than the pattern allows is replaced.",
            "schema": {"type": "string", "pattern": f"^{ACCEPTED.pattern.decode()}$"},
            "example": "order-1742",
        }
    },
    "headers": {
        "RequestID": {
            "description": "The request's own X-Request-ID, or one made for it.",
            "schema": TEXT,
        },
        "ServerTiming": {
            "description": "Milliseconds of decoding, inference and the whole (W3C Server Timing).",
            "schema": TEXT,
            "example": "decode;dur=0.139, inference;dur=0.313, total;dur=0.631",
        },
        "ModelVersion": {
            "description": "Of the model that answered; left out where none was asked.",
            "schema": TEXT,
            "example": "1.1.0",
        },
    },
    "schemas": {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "string",
                    "description": "What was wrong, and what would be right.",
                }
            },
            "example": {"error": "top_k is '0', expected one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"},
        }
    },
}


def reference(schema: str) -> OpenAPIObject:
    """Refer to a schema of the components by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def content(media_type: str, schema: OpenAPIObject, example: Any = None) -> OpenAPIObject:
    """Describe a body of one type."""
    return {media_type: {"schema": schema} | ({} if example is None else {"example": example})}


def answers(
    description: str, body: OpenAPIObject, errors: Iterable[type[RequestError]] = ()
) -> OpenAPIObject:
    """Describe what a route answers: 200, the errors of its own, and any other error."""
    refusals = {str(int(error.status)): error_answer(error.__doc__ or "") for error in errors}
    return {
        "200": {"description": description, "headers": HEADERS, "content": body},
        **refusals,
        "default": error_answer("Any other error."),
    }


def operation(
    name: str,
    tag: str,
    summary: str,
    responses: OpenAPIObject,
    parameters: Iterable[OpenAPIObject] = (),
    body: Mapping[str, Any] | None = None,
    description: str = "",
) -> OpenAPIObject:
    """Describe what one method of a route does.

    Args:
        name: of the function in a generated client.
        tag: which group of the documentation it stands in.
        summary: one line.
        responses: as `answers` makes them.
        parameters: of the path and the query.
        body: the request's types, as `content` makes them.
        description: more lines, in Markdown.
    """
    described = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": description or summary,
        "parameters": [*parameters, REQUEST_ID],
        "responses": responses,
    }
    return described | ({"requestBody": {"required": True, "content": body}} if body else {})


def error_answer(description: str) -> OpenAPIObject:
    """Describe an answer that is an error."""
    return {
        "description": description,
        "headers": HEADERS,
        "content": content(JSON, reference("Error")),
    }
