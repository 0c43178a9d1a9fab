"""The parts of all route descriptions (OpenAPI 3.0.3, sections 4.7.9 to 4.7.20)."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.errors import RequestError
from service.telemetry.request_id import ACCEPTED

OpenAPIObject = dict[str, Any]

JSON, OCTETS = "application/json", "application/octet-stream"
TEXT: OpenAPIObject = {"type": "string"}
BINARY: OpenAPIObject = {"type": "string", "format": "binary"}

# Any request may send the first. Every response has the first two of HEADERS, and a response by a
# model also has the third.
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
            "description": "Identifies the request in the answer and in the service's log. A value "
            "that does not match the pattern is replaced.",
            "schema": {"type": "string", "pattern": f"^{ACCEPTED.pattern.decode()}$"},
            "example": "order-1742",
        }
    },
    "headers": {
        "RequestID": {
            "description": "The request's own X-Request-ID, or a generated one.",
            "schema": TEXT,
        },
        "ServerTiming": {
            "description": "Milliseconds of decoding, inference and in total (W3C Server Timing).",
            "schema": TEXT,
            "example": "decode;dur=0.139, inference;dur=0.313, total;dur=0.631",
        },
        "ModelVersion": {
            "description": "Version of the model that answered; absent if no model was used.",
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
                    "description": "What was wrong, and what is expected.",
                }
            },
            "example": {"error": "mode is 'grey', expected one of auto, raw, photo"},
        }
    },
}


def reference(schema: str) -> OpenAPIObject:
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{schema}"}


def content(media_type: str, schema: OpenAPIObject, example: Any = None) -> OpenAPIObject:
    """Return the description of a body of one media type."""
    return {media_type: {"schema": schema} | ({} if example is None else {"example": example})}


def answers(
    description: str, body: OpenAPIObject, errors: Iterable[type[RequestError]] = ()
) -> OpenAPIObject:
    """Return a route's responses: 200, its own errors, and any other error."""
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
    needs_body: bool = True,
) -> OpenAPIObject:
    """Return the description of one method of a route.

    Args:
        name: the function's name in a generated client.
        tag: group in the documentation.
        summary: one line.
        responses: as `answers` returns them.
        parameters: of the path and the query.
        body: the request's media types, as `content` returns them.
        description: more lines, in Markdown.
        needs_body: whether a request must have a body.
    """
    described = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": description or summary,
        "parameters": [*parameters, REQUEST_ID],
        "responses": responses,
    }
    return described | ({"requestBody": {"required": needs_body, "content": body}} if body else {})


def error_answer(description: str) -> OpenAPIObject:
    """Return the description of an error response."""
    return {
        "description": description,
        "headers": HEADERS,
        "content": content(JSON, reference("Error")),
    }
