"""The OpenAPI description of `/classify`, `/classify_batch` and `/predict`."""

from typing import Any

from service.errors import (
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    RequestTimeout,
    Timeout,
    TooLarge,
    UnsupportedType,
)
from service.http.query import MODEL
from service.openapi.components import (
    BINARY,
    JSON,
    OCTETS,
    OpenAPIObject,
    answers,
    content,
    operation,
    reference,
)
from service.openapi.model_facts import ModelFacts
from service.preprocessing.formats import MEDIA_TYPES
from service.rest.uploads import BATCH_FIELD, FIELD, FORM

TAG = "Classification"
REFUSALS = (RequestTimeout, Overloaded, NotReady, Timeout)  # of all inference requests
ERRORS = (InvalidInput, NotFound, TooLarge, UnsupportedType, *REFUSALS)

PIPELINES = {
    "fashion-mnist": "How a picture becomes {size} in grey. raw: it is only resized; 0 is "
    "background. photo: the pipeline of Fashion-MNIST, which removes the background, negates the "
    "rest, trims and centres. auto: raw for a grey picture of {size}, photo for any other.",
    "resize": "The model's pipeline is resize: a picture is squeezed to {size}.",
    "center-crop": "The model's pipeline is center-crop: a picture's shorter side is brought to "
    "{resize} pixels, and {size} are cut from its centre.",
}


def mode(model: ModelFacts) -> OpenAPIObject:
    """Return the parameter `mode`."""
    description = "How a picture is prepared."
    if model.signature:
        image = model.signature.image
        size = f"{image.height} x {image.width}"
        description = PIPELINES[image.pipeline].format(size=size, resize=image.resize)
    return {
        "name": "mode",
        "in": "query",
        "description": description,
        "schema": {"type": "string", "enum": list(model.modes), "default": "auto"},
    }


def model_parameter(model: ModelFacts) -> OpenAPIObject:
    """Return the parameter `model`."""
    described = {"enum": list(model.names), "default": model.name} if model.names else {}
    return {
        "name": MODEL,
        "in": "query",
        "description": "Which of the served models answers.",
        "schema": {"type": "string", **described},
    }


def _top_k(model: ModelFacts) -> OpenAPIObject:
    most = {} if model.classes is None else {"maximum": model.classes}
    return {
        "name": "top_k",
        "in": "query",
        "description": "How many classes `probabilities` has, the most probable first. If not "
        "given: all, in the model's order.",
        "schema": {"type": "integer", "minimum": 1, **most},
        "example": min(3, model.classes or 3),
    }


def _form(field: str, schema: OpenAPIObject) -> OpenAPIObject:
    fields = {"type": "object", "required": [field], "properties": {field: schema}}
    return {FORM: {"schema": fields, "encoding": {field: {"contentType": ", ".join(MEDIA_TYPES)}}}}


# One image, as a form field or as the body.
PICTURE = _form(FIELD, BINARY) | {kind: {"schema": BINARY} for kind in (*MEDIA_TYPES, OCTETS)}


def paths(model: ModelFacts) -> OpenAPIObject:
    """Return the paths of the classification routes."""
    return {
        "/classify": {"post": _classify(model)},
        "/classify_batch": {"post": _classify_batch(model)},
        "/predict": {"post": _predict(model)},
    }


def _classify(model: ModelFacts) -> OpenAPIObject:
    return operation(
        "classify",
        TAG,
        "Classify a picture",
        answers("What the picture shows.", _json("Classification", model.classification), ERRORS),
        [model_parameter(model), mode(model), _top_k(model)],
        PICTURE,
        f"The picture is the form field `{FIELD}`, or the body itself.",
    )


def _classify_batch(model: ModelFacts) -> OpenAPIObject:
    many = {"type": "array", "minItems": 1, "items": BINARY}
    schema = {"type": "array", "items": reference("Classification")}
    example = [model.classification] if model.classification else None
    return operation(
        "classify_batch",
        TAG,
        "Classify several pictures",
        answers("The answers, in order.", content(JSON, schema, example), ERRORS),
        [model_parameter(model), mode(model), _top_k(model)],
        _form(BATCH_FIELD, many),
        f"Each picture is a field `{BATCH_FIELD}` of one form. If one is broken, the whole form is "
        "refused, with an error that names it.",
    )


def _predict(model: ModelFacts) -> OpenAPIObject:
    example = {"images": [model.image]} if model.image else None
    return operation(
        "predict",
        TAG,
        "Classify images given as numbers",
        answers("The answers, in order.", _json("Predictions", model.predictions), ERRORS),
        [model_parameter(model)],
        content(JSON, _images(model), example),
        f"Images are {model.shape}, the model's own input: numbers from 0 to 255.",
    )


def _images(model: ModelFacts) -> OpenAPIObject:
    image: OpenAPIObject = {"type": "integer", "minimum": 0, "maximum": 255}
    for axis in reversed(model.axes):
        image = {"type": "array", "minItems": axis, "maxItems": axis, "items": image}
    return {
        "type": "object",
        "required": ["images"],
        "additionalProperties": False,
        "properties": {
            "images": {"type": "array", "minItems": 1, "items": image if model.axes else {}}
        },
    }


def _json(schema: str, example: Any) -> OpenAPIObject:
    return content(JSON, reference(schema), example)
