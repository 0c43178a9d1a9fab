"""The protocol's published OpenAPI description, run against a real server by schemathesis.

Three things are odd in the description, and put right here. Its paths have `${NAME}` for
`{NAME}`. Its parameters may be any name and version, where a server has one model. And it lists
200 and 400 alone, where the protocol's text lets a server say more exactly what was wrong.
"""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.serving import Server

DESCRIPTION = Path(__file__).parents[1] / "open_inference_rest.yaml"
if not DESCRIPTION.is_file():
    pytest.skip(
        f"{DESCRIPTION.name} could not be fetched: `make test` does that", allow_module_level=True
    )

EXAMPLES = 100  # of each operation
SERVED = {"MODEL_NAME": "fashion_lenet", "MODEL_VERSION": "1.1.0"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
SCHEMA = {"schema": {"$ref": "#/components/schemas/metadata_server_error_response"}}
ERROR = {"description": "an error", "content": {"application/json": SCHEMA}}


def described() -> dict[str, Any]:
    """The description, put right."""
    content: dict[str, Any] = schemathesis.openapi.from_path(DESCRIPTION).raw_schema
    content["paths"] = {path.replace("${", "{"): item for path, item in content["paths"].items()}
    for item in content["paths"].values():
        (operation,) = (item[method] for method in ("get", "post") if method in item)
        for parameter in item.get("parameters", []):
            parameter["schema"]["enum"] = [SERVED[parameter["name"]]]
            operation["responses"]["404"] = ERROR
        if "requestBody" in operation:
            operation["requestBody"]["required"] = True  # the request has required fields
            operation["responses"]["415"] = ERROR
    return content


def described_for_this_model() -> dict[str, Any]:
    """The same with this model's tensors, so that every request that fits it is answered."""
    content = described()
    schemas = content["components"]["schemas"]
    schemas["inference_request"]["properties"]["inputs"] |= {"minItems": 1, "maxItems": 1}
    schemas["inference_request"]["properties"]["outputs"] |= {"maxItems": 1}
    image = schemas["request_input"]["properties"]
    image["name"]["enum"] = ["image"]
    image["datatype"]["enum"] = ["UINT8"]
    image["shape"]["enum"] = [[1, 1, 28, 28]]
    image["data"] = {"type": "array", "enum": [[0] * 784, [*range(28)] * 28]}
    schemas["request_output"]["properties"]["name"]["enum"] = ["logits", "probabilities"]
    return content


def loaded(content: dict[str, Any]) -> OpenApiSchema:
    schema = schemathesis.openapi.from_dict(content)
    schema.config.generation.deterministic = True
    schema.config.generation.max_examples = EXAMPLES
    return schema


published = loaded(described())
ours = loaded(described_for_this_model()).include(method="POST")


@published.parametrize()
def test_the_server_does_as_the_description_says(case: Case, server: Server) -> None:
    case.call_and_validate(base_url=server.url, checks=CHECKS)


@ours.parametrize()
def test_and_answers_every_request_that_fits_the_model(case: Case, server: Server) -> None:
    case.call_and_validate(base_url=server.url, checks=[*CHECKS, positive_data_acceptance])
