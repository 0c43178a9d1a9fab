"""docs.json describes every route, and every answer matches it."""

import json
import math
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import numpy as np
import pytest
import schemathesis
from bentoml import Service
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.serialization import serialize_binary

from service.classifier import FashionClassifier
from service.oip import repository_routes, rest_routes
from service.openapi.document import OpenAPI
from service.preprocessing.formats import MEDIA_TYPES
from service.rest import classify, health, predict, ui
from service.runtime.onnx_model import load_model
from service.settings import ServiceSettings
from service.version import SERVER, SERVER_VERSION
from tests.service.networks import NETWORKS, Network
from tests.service.pictures import encode, png_header
from tests.serving import Server

MODEL = load_model(ServiceSettings(device="cpu"))
DESCRIPTION = OpenAPI(model=MODEL).asdict()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
WHERE = [(path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods]
ROOMS = (classify, predict, rest_routes, repository_routes, ui, health)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("image/avif", "image/bmp", "image/tiff")
def as_it_is(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Write media types that schemathesis does not know."""
    return serialize_binary(value)


def test_without_a_model_every_route_is_described() -> None:
    nothing_known = OpenAPI().asdict()
    schemathesis.openapi.from_dict(nothing_known).validate()
    assert {path: set(methods) for path, methods in nothing_known["paths"].items()} == {
        path: set(methods) for path, methods in DESCRIPTION["paths"].items()
    }
    assert not re.search(r"\b28\b", json.dumps(nothing_known))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_shape_classes_and_examples_are_the_models(tmp_path: Path, network: Network) -> None:
    path = network.write(tmp_path / "model.onnx")
    model = load_model(ServiceSettings(device="cpu", model=path))
    described = OpenAPI(model=model).asdict()
    schemathesis.openapi.from_dict(described).validate()
    check_examples(described)
    top_k, mode = (
        next(entry for entry in parameters if entry.get("name") == name)["schema"]
        for parameters in [described["paths"]["/classify"]["post"]["parameters"]]
        for name in ("top_k", "mode")
    )
    assert top_k["maximum"] == network.classes
    expected = ["auto", "raw", "photo"] if network.shape[0] == 1 else ["auto"]
    assert mode["enum"] == expected
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    image = body["schema"]["properties"]["images"]["items"]
    axes = []
    while "items" in image:
        axes.append((image["minItems"], image["maxItems"]))
        image = image["items"]
    assert axes == [(axis, axis) for axis in network.shape]
    assert ("example" in body) == (math.prod(network.shape) <= 4096)
    about = described["info"]
    assert (about["title"], about["version"]) == (SERVER, SERVER_VERSION)
    assert f"the model `{network.name}` {model.version}." in about["description"]
    if network.shape != (1, 28, 28):
        assert "28 x 28" not in json.dumps(described)
    assert "garment" not in json.dumps(described)
    assert "Trouser" not in json.dumps(described)


def test_of_several_models_the_default_one_is_described() -> None:
    described = OpenAPI(model=MODEL, names=(MODEL.name, "second")).asdict()
    assert f"Serves 2 models, by default `{MODEL.name}`" in described["info"]["description"]


def test_the_service_says_so(client: httpx.Client) -> None:
    answer = client.get("/docs.json")
    assert answer.status_code == 200
    assert answer.json() == DESCRIPTION


def test_it_is_valid_openapi() -> None:
    SCHEMA.validate()


def test_every_route_is_described() -> None:
    """But for the pages of the documentation itself."""
    routes = {
        re.sub(":path}", "}", route.path): {method.lower() for method in route.methods} - {"head"}
        for room in ROOMS
        for route in [*room.ROUTES, *getattr(room, "METRICS", ())]
        if route.methods
    }
    assert {path: set(methods) for path, methods in DESCRIPTION["paths"].items()} == routes


@pytest.mark.parametrize(("path", "method"), WHERE)
def test_a_generated_client_can_name_it_and_knows_every_header(path: str, method: str) -> None:
    operation = DESCRIPTION["paths"][path][method]
    assert re.fullmatch("[a-z][a-z0-9_]*", operation["operationId"])
    assert operation["summary"]
    assert {"$ref": "#/components/parameters/RequestID"} in operation["parameters"]
    for response in operation["responses"].values():
        assert list(response["headers"]) == ["X-Request-ID", "Server-Timing", "X-Model-Version"]
    named = {entry["name"] for entry in operation["parameters"] if entry.get("in") == "path"}
    assert named == set(re.findall("{(.*?)}", path))


def test_no_two_operations_have_one_name() -> None:
    names = [DESCRIPTION["paths"][path][method]["operationId"] for path, method in WHERE]
    assert len(set(names)) == len(names)


def bodies(described: Any) -> list[Any]:
    """Everything in a description that has a schema and an example."""
    if isinstance(described, list):
        return [body for item in described for body in bodies(item)]
    if not isinstance(described, dict):
        return []
    own = [described] if "schema" in described and "example" in described else []
    return own + [body for item in described.values() for body in bodies(item)]


def test_every_example_is_as_its_schema_says() -> None:
    assert check_examples(DESCRIPTION) >= 15


def check_examples(description: dict[str, Any]) -> int:
    """Check each example against its schema; return how many there are."""
    found = bodies(description)
    for body in found:
        schema = {**body["schema"], "components": description["components"]}
        jsonschema_rs.Draft4Validator(schema).validate(body["example"])
    return len(found)


def test_the_example_of_predict_is_a_pair_of_trousers(client: httpx.Client) -> None:
    content = DESCRIPTION["paths"]["/predict"]["post"]["requestBody"]["content"]
    answer = client.post("/predict", json=content["application/json"]["example"])
    assert answer.json()["labels"] == ["Trouser"]


def test_the_example_of_infer_is_answered(client: httpx.Client) -> None:
    path = "/v2/models/{name}/infer"
    content = DESCRIPTION["paths"][path]["post"]["requestBody"]["content"]
    answer = client.post(
        path.format(name="fashion_lenet"), json=content["application/json"]["example"]
    )
    assert np.argmax(answer.json()["outputs"][0]["data"]) == 1


def test_classify_takes_a_form_and_every_format() -> None:
    body = DESCRIPTION["paths"]["/classify"]["post"]["requestBody"]
    assert body["required"] is True
    types = {"multipart/form-data", *MEDIA_TYPES, "application/octet-stream"}
    assert set(body["content"]) == types


def test_every_answer_of_classify_is_as_described(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    asked = {
        200: client.post("/classify", files={"image": encode(ankle_boot)}),
        400: client.post("/classify", files={"image": b"x"}),
        404: client.post("/classify?model=other", files={"image": encode(ankle_boot)}),
        413: client.post("/classify", files={"image": png_header(60_000, 60_000)}),
        415: client.post("/classify", content=b"x", headers={"Content-Type": "text/plain"}),
    }
    documented = set(DESCRIPTION["paths"]["/classify"]["post"]["responses"])
    assert documented == {"408", "429", "503", "504", "default", *map(str, asked)}
    for status, answer in asked.items():
        assert answer.status_code == status
        answer.request.read()
        SCHEMA["/classify"]["POST"].validate_response(answer)


@SCHEMA.parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_the_answer_is_as_described(
    case: schemathesis.Case, server: Server
) -> None:
    case.validate_response(case.call(base_url=server.url), checks=CHECKS)


def test_bentomls_own_description_is_left_as_it_was() -> None:
    own = Service.openapi_spec.fget(FashionClassifier).asdict()  # type: ignore[attr-defined]
    before = repr(own)
    completed = FashionClassifier.openapi_spec.asdict()
    assert repr(own) == before
    assert completed != own
