"""docs.json describes every route there is, and every answer it documents is what comes."""

from typing import Any

import httpx
import numpy as np
import pytest
from bentoml import Service
from numpy.typing import NDArray

from service.classifier import FashionClassifier
from service.images import FORMATS
from service.openapi import OpenAPI
from service.web import BENTOMLS, WebService
from tests.service.pictures import encode, png_header

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}


@pytest.fixture
def description(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/docs.json")
    assert answer.status_code == 200
    content: dict[str, Any] = answer.json()
    return content


def schema(description: dict[str, Any], path: str, method: str, status: int) -> dict[str, Any]:
    """What an answer of this status should look like."""
    response = description["paths"][path][method]["responses"][str(status)]
    found: dict[str, Any] = response["content"]["application/json"]["schema"]
    return found


def conforms(value: Any, schema: dict[str, Any], description: dict[str, Any]) -> bool:
    """Whether a value is as a schema says; knows as much of JSON Schema as we use."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return conforms(value, description["components"]["schemas"][name], description)
    if schema["type"] != "object":
        kinds = {"string": str, "integer": int, "number": (int, float)}
        return isinstance(value, kinds[schema["type"]]) and value in schema.get("enum", [value])
    if "additionalProperties" in schema:
        inner = schema["additionalProperties"]
        return all(conforms(item, inner, description) for item in value.values())
    properties = schema["properties"]
    return set(schema.get("required", ())) <= set(value) <= set(properties) and all(
        conforms(item, properties[key], description) for key, item in value.items()
    )


def test_every_route_is_described(description: dict[str, Any]) -> None:
    """But for the pages of the documentation itself."""
    app: Any = FashionClassifier.to_asgi()
    assert set(description["paths"]) == app.routes - {"/", *BENTOMLS}
    for path, methods in description["paths"].items():
        assert set(methods) == ({"post"} if path == "/classify" else {"get"})


def test_classify_takes_a_form_and_every_format(description: dict[str, Any]) -> None:
    body = description["paths"]["/classify"]["post"]["requestBody"]
    assert body["required"] is True
    assert set(body["content"]) == {"multipart/form-data", *FORMATS}
    form = body["content"]["multipart/form-data"]["schema"]
    assert list(form["properties"]) == ["image"]
    assert form["properties"]["image"]["format"] in ("image", "binary")


def test_a_classification_is_as_described(
    client: httpx.Client, description: dict[str, Any], ankle_boot: NDArray[np.uint8]
) -> None:
    answer = client.post("/classify", files={"image": encode(ankle_boot)})
    assert conforms(answer.json(), schema(description, "/classify", "post", 200), description)
    broken = {key: value for key, value in answer.json().items() if key != "label"}
    assert not conforms(broken, schema(description, "/classify", "post", 200), description)


def test_every_error_is_as_described(client: httpx.Client, description: dict[str, Any]) -> None:
    asked = {
        400: client.post("/classify", files={"image": b"x"}),
        413: client.post("/classify", files={"image": png_header(60_000, 60_000)}),
        415: client.post("/classify", content=b"x", headers={"Content-Type": "text/plain"}),
    }
    documented = set(description["paths"]["/classify"]["post"]["responses"])
    assert documented == {"200", "503", *map(str, asked)}
    for status, answer in asked.items():
        assert answer.status_code == status
        assert schema(description, "/classify", "post", status) == ERROR
        assert conforms(answer.json(), ERROR, description)
    assert schema(description, "/classify", "post", 503) == ERROR


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_a_probe_answers_as_described(
    client: httpx.Client, description: dict[str, Any], path: str
) -> None:
    answer = client.get(path).json()
    assert conforms(answer, schema(description, path, "get", 200), description)
    documented = set(description["paths"][path]["get"]["responses"])
    assert documented == ({"200"} if path == "/livez" else {"200", "503"})


def test_metrics_are_text(client: httpx.Client, description: dict[str, Any]) -> None:
    content = description["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/plain"]
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    def references(content: Any) -> list[str]:
        if isinstance(content, list):
            return [found for item in content for found in references(item)]
        if not isinstance(content, dict):
            return []
        own = [content["$ref"]] if "$ref" in content else []
        return own + [found for item in content.values() for found in references(item)]

    schemas = description["components"]["schemas"]
    for reference in references(description):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_bentomls_own_description_is_left_as_it_was() -> None:
    assert isinstance(FashionClassifier, WebService)
    own = Service.openapi_spec.fget(FashionClassifier).asdict()  # type: ignore[attr-defined]
    before = repr(own)
    completed = OpenAPI(own).asdict()
    assert repr(own) == before
    assert completed != own
