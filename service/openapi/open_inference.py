"""The OpenAPI description of the Open Inference Protocol's routes.

Schemas as in the protocol's `inference_rest.md`, and Triton's extensions "Binary tensor data" and
"Classification", narrowed to this model's inputs and outputs.
"""

from service.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    NotReady,
    TooLarge,
    UnsupportedType,
)
from service.oip.protocol import (
    EXTENSIONS,
    INPUT_DATATYPE,
    OUTPUT_DATATYPE,
    OUTPUTS,
    REPOSITORY,
    describe_model,
)
from service.oip.rest_request import HEADER_LENGTH
from service.openapi.classification import REFUSALS
from service.openapi.components import (
    BINARY,
    JSON,
    OCTETS,
    TEXT,
    OpenAPIObject,
    answers,
    content,
    operation,
    reference,
)
from service.openapi.model_facts import ModelFacts
from service.runtime.signature import INPUT, PROBABILITIES
from service.version import SERVER, SERVER_VERSION

TAG = "Open Inference Protocol v2"
MODEL = "/v2/models/{name}"

YES: OpenAPIObject = {"type": "boolean", "description": "true; an error says no"}
WHOLE: OpenAPIObject = {"type": "integer", "minimum": 0}
SHAPE: OpenAPIObject = {"type": "array", "items": {"type": "integer"}}
FREE: OpenAPIObject = {"type": "object", "additionalProperties": True}
NULL: OpenAPIObject = {"nullable": True}  # null means the same as a missing value


def _object(required: str, **properties: OpenAPIObject) -> OpenAPIObject:
    described: OpenAPIObject = {"type": "object", "properties": properties}
    return described | ({"required": required.split()} if required else {})


def _list(items: OpenAPIObject, **limits: int) -> OpenAPIObject:
    return {"type": "array", "items": items, **limits}


def schemas(model: ModelFacts) -> OpenAPIObject:
    """Return the schemas of requests and responses."""
    axes = ["N", *(model.axes or ("C", "H", "W"))]
    return {
        "ServerMetadata": _object(
            "name version extensions", name=TEXT, version=TEXT, extensions=_list(TEXT)
        ),
        "ModelMetadata": _object(
            "name versions platform inputs outputs",
            name=TEXT,
            versions=_list(TEXT),
            platform=TEXT,
            inputs=_list(reference("TensorMetadata")),
            outputs=_list(reference("TensorMetadata")),
        ),
        "TensorMetadata": _object("name datatype shape", name=TEXT, datatype=TEXT, shape=SHAPE),
        "InferRequest": _object(
            "inputs",
            id=TEXT | NULL,
            parameters=_object("", binary_data_output={"type": "boolean"} | NULL) | NULL,
            inputs=_list(reference("InputTensor"), minItems=1, maxItems=1),
            outputs=_list(reference("RequestedOutput"), maxItems=len(OUTPUTS)) | NULL,
        ),
        "InputTensor": _object(
            "name datatype shape",
            name={"type": "string", "enum": [INPUT]},
            datatype={"type": "string", "enum": [INPUT_DATATYPE]},
            shape=_list(WHOLE, minItems=4, maxItems=4)
            | {"description": f"{', '.join(map(str, axes))}; N is at least 1"},
            data=_list({})
            | {"description": "integers from 0 to 255, as one list or nested like the shape"}
            | NULL,
            parameters=_object("", binary_data_size=WHOLE | NULL) | NULL,
        ),
        "RequestedOutput": _object(
            "name",
            name={"type": "string", "enum": list(OUTPUTS)},
            parameters=_object(
                "",
                binary_data={"type": "boolean"} | NULL,
                classification={"type": "integer", "minimum": 1} | NULL,
            )
            | NULL,
        ),
        "InferResponse": _object(
            "model_name model_version outputs",
            model_name=TEXT,
            model_version=TEXT,
            id=TEXT,
            outputs=_list(reference("OutputTensor")),
        ),
        "RepositoryIndex": _list(
            _object(
                "name version state reason",
                name=TEXT,
                version=TEXT,
                state={"type": "string", "enum": ["READY", "UNAVAILABLE"]},
                reason=TEXT,
            )
        ),
        "OutputTensor": _object(
            "name datatype shape",
            name=TEXT,
            datatype={"type": "string", "enum": [OUTPUT_DATATYPE, "BYTES"]},
            shape=SHAPE,
            data=_list({}),
            parameters=FREE,
        ),
    }


SERVER_METADATA = {"name": SERVER, "version": SERVER_VERSION, "extensions": list(EXTENSIONS)}


def _metadata(model: ModelFacts) -> OpenAPIObject | None:
    """Return an example of a model's metadata."""
    if model.signature is None:
        return None
    return describe_model(model.name, [model.version], model.signature)


def _request(model: ModelFacts) -> OpenAPIObject | None:
    if model.image is None:
        return None
    tensor = {"name": INPUT, "datatype": INPUT_DATATYPE, "shape": [1, *model.axes]}
    return {
        "inputs": [tensor | {"data": [model.image]}],
        "outputs": [{"name": PROBABILITIES}],
    }


def _response(model: ModelFacts) -> OpenAPIObject | None:
    if model.predictions is None:
        return None
    (probabilities,) = model.predictions["probabilities"]
    tensor = {"name": PROBABILITIES, "datatype": OUTPUT_DATATYPE, "shape": [1, model.classes]}
    return {
        "model_name": model.name,
        "model_version": model.version,
        "outputs": [tensor | {"data": probabilities}],
    }


def _path_parameter(name: str, example: str) -> OpenAPIObject:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"The model's {name}.",
        "schema": TEXT,
        "example": example,
    }


JSON_LENGTH: OpenAPIObject = {
    "name": HEADER_LENGTH,
    "in": "header",
    "description": "How many bytes of the body are its JSON object; binary tensors follow. "
    "0: the body is only the images.",
    "schema": WHOLE,
}


def paths(model: ModelFacts) -> OpenAPIObject:
    """Return the paths of the protocol; a model's paths are also listed with its version."""
    name, version = (
        _path_parameter("name", model.name),
        _path_parameter("version", model.version),
    )
    routes = {
        "/v2": {"get": _server_metadata("v2_server_metadata")},
        "/v2/": {"get": _server_metadata("v2_server_metadata_slash")},
        "/v2/health/live": {"get": _health("live", "Whether the process runs")},
        "/v2/health/ready": {"get": _health("ready", "Whether it can classify", NotReady)},
    }
    for path, suffix, parameters in (
        (MODEL, "", [name]),
        (f"{MODEL}/versions/{{version}}", "_version", [name, version]),
    ):
        routes[path] = {"get": _model_metadata(model, suffix, parameters)}
        routes[f"{path}/ready"] = {"get": _model_ready(model, suffix, parameters)}
        routes[f"{path}/infer"] = {"post": _infer(model, suffix, parameters)}
    return routes | _repository(model, name)


def _repository(model: ModelFacts, name: OpenAPIObject) -> OpenAPIObject:
    """Return the paths of the model repository extension."""
    entry = {"name": model.name, "version": model.version, "state": "READY", "reason": ""}
    index = operation(
        "v2_repository_index",
        TAG,
        "All models with their states",
        answers(
            "The models.",
            content(JSON, reference("RepositoryIndex"), [entry]),
            [InvalidInput, *REFUSALS],
        ),
        body=content(JSON, _object("", ready={"type": "boolean"})),
        needs_body=False,
    )
    paths = {f"{REPOSITORY}/index": {"post": index}}
    for verb in ("load", "unload"):
        change = operation(
            f"v2_repository_{verb}",
            TAG,
            f"Have all workers {verb} a model",
            answers("Done.", {}, [InvalidInput, Forbidden, NotFound, *REFUSALS]),
            [name],
            content(JSON, _object("", parameters=FREE)),
            needs_body=False,
        )
        paths[f"{REPOSITORY}/models/{{name}}/{verb}"] = {"post": change}
    return paths


def _server_metadata(name: str) -> OpenAPIObject:
    body = content(JSON, reference("ServerMetadata"), SERVER_METADATA)
    return operation(name, TAG, "Name and version of the server", answers("The server.", body))


def _health(what: str, summary: str, *errors: type[NotReady]) -> OpenAPIObject:
    keys = ["live", "ready"][: 1 + (what == "ready")]
    body = content(JSON, _object(" ".join(keys), **dict.fromkeys(keys, YES)))
    return operation(f"v2_health_{what}", TAG, summary, answers("Yes.", body, errors))


def _model_metadata(
    model: ModelFacts, suffix: str, parameters: list[OpenAPIObject]
) -> OpenAPIObject:
    body = content(JSON, reference("ModelMetadata"), _metadata(model))
    responses = answers("The model's inputs and outputs.", body, [NotFound, NotReady])
    return operation(
        f"v2_model{suffix}_metadata", TAG, "The model's inputs and outputs", responses, parameters
    )


def _model_ready(model: ModelFacts, suffix: str, parameters: list[OpenAPIObject]) -> OpenAPIObject:
    body = content(
        JSON, _object("name ready", name=TEXT, ready=YES), {"name": model.name, "ready": True}
    )
    responses = answers("Yes.", body, [NotFound, NotReady])
    return operation(
        f"v2_model{suffix}_ready", TAG, "Whether the model can classify", responses, parameters
    )


def _infer(model: ModelFacts, suffix: str, parameters: list[OpenAPIObject]) -> OpenAPIObject:
    octets = {OCTETS: {"schema": BINARY}}
    body = content(JSON, reference("InferResponse"), _response(model)) | octets
    errors = [InvalidInput, NotFound, TooLarge, UnsupportedType, *REFUSALS]
    return operation(
        f"v2_model{suffix}_infer",
        TAG,
        "Run the network on images",
        answers("The requested outputs; in binary if requested.", body, errors),
        [*parameters, JSON_LENGTH],
        content(JSON, reference("InferRequest"), _request(model)) | octets,
    )
