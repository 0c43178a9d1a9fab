"""The OpenAPI description of `/classify`, `/classify_batch` and `/predict`."""

from typing import Any, get_args

from service.errors import (
    InvalidInput,
    NotReady,
    Overloaded,
    RequestTimeout,
    Timeout,
    TooLarge,
    UnsupportedType,
)
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
from service.preprocessing.formats import MEDIA_TYPES
from service.preprocessing.pipeline import SIDE, Mode
from service.rest.uploads import BATCH_FIELD, FIELD, FORM

TAG = "Classification"
REFUSALS = (RequestTimeout, Overloaded, NotReady, Timeout)  # of all inference requests
ERRORS = (InvalidInput, TooLarge, UnsupportedType, *REFUSALS)

MODE: OpenAPIObject = {
    "name": "mode",
    "in": "query",
    "description": "How a picture becomes 28 x 28 in grey. raw: it is only resized; 0 is "
    "background. photo: the pipeline of the data set, which trims, centres, and negates a "
    "light background. auto: raw for a grey picture of 28 x 28, photo for any other.",
    "schema": {"type": "string", "enum": list(get_args(Mode)), "default": "auto"},
}
TOP_K: OpenAPIObject = {
    "name": "top_k",
    "in": "query",
    "description": "How many classes `probabilities` has, the most probable first. If not given: "
    "all, in the model's order.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 10},
    "example": 3,
}

CLASSIFICATION = {
    "label": "Ankle boot",
    "class_id": 9,
    "confidence": 0.9994,
    "probabilities": {"Ankle boot": 0.9994, "Sneaker": 0.0005, "Sandal": 0.0001},
    "preprocessing": {"mode": "photo", "negated": True, "trimmed": True},
    "model": {"name": "fashion_lenet", "version": "1.1.0"},
    "input": {"shift": 0.412, "unusual": False, "hint": ""},
}
PREDICTIONS = {
    "probabilities": [[0.0, 0.99, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]],
    "class_ids": [1],
    "labels": ["Trouser"],
}

# A pair of trousers in 28 x 28 pixels.
WAIST, LEGS = range(9, 19), (*range(9, 13), *range(15, 19))
TROUSERS = [
    [200 if column in (WAIST if row < 8 else LEGS) else 0 for column in range(SIDE)]
    for row in range(SIDE)
]


def _form(field: str, schema: OpenAPIObject) -> OpenAPIObject:
    fields = {"type": "object", "required": [field], "properties": {field: schema}}
    return {FORM: {"schema": fields, "encoding": {field: {"contentType": ", ".join(MEDIA_TYPES)}}}}


# One image, as a form field or as the body.
PICTURE = _form(FIELD, BINARY) | {kind: {"schema": BINARY} for kind in (*MEDIA_TYPES, OCTETS)}


def paths() -> OpenAPIObject:
    """Return the paths of the classification routes."""
    return {
        "/classify": {"post": _classify()},
        "/classify_batch": {"post": _classify_batch()},
        "/predict": {"post": _predict()},
    }


def _classify() -> OpenAPIObject:
    return operation(
        "classify",
        TAG,
        "Say what garment a picture shows",
        answers("What the picture shows.", _json("Classification", CLASSIFICATION), ERRORS),
        [MODE, TOP_K],
        PICTURE,
        f"The picture is the form field `{FIELD}`, or the body itself.",
    )


def _classify_batch() -> OpenAPIObject:
    many = {"type": "array", "minItems": 1, "items": BINARY}
    schema = {"type": "array", "items": reference("Classification")}
    return operation(
        "classify_batch",
        TAG,
        "Say what garment each of several pictures shows",
        answers("The answers, in order.", content(JSON, schema, [CLASSIFICATION]), ERRORS),
        [MODE, TOP_K],
        _form(BATCH_FIELD, many),
        f"Each picture is a field `{BATCH_FIELD}` of one form. If one is broken, the whole form is "
        "refused, with an error that names it.",
    )


def _predict() -> OpenAPIObject:
    return operation(
        "predict",
        TAG,
        "Classify images given as numbers",
        answers("The answers, in order.", _json("Predictions", PREDICTIONS), ERRORS),
        body=content(JSON, _images(), {"images": [[TROUSERS]]}),
        description=f"Images are N x 1 x {SIDE} x {SIDE}; 0 is background and 255 is garment.",
    )


def _images() -> OpenAPIObject:
    image = _list(_list(_list({"type": "integer", "minimum": 0, "maximum": 255}, SIDE), SIDE), 1)
    return {
        "type": "object",
        "required": ["images"],
        "additionalProperties": False,
        "properties": {"images": {"type": "array", "minItems": 1, "items": image}},
    }


def _list(items: OpenAPIObject, length: int) -> OpenAPIObject:
    return {"type": "array", "minItems": length, "maxItems": length, "items": items}


def _json(schema: str, example: Any) -> OpenAPIObject:
    return content(JSON, reference(schema), example)
