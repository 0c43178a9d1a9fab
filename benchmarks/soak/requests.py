"""Good requests of every kind for a soak, each with the classes that its answer must name."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.http.load import INFER, OCTETS
from benchmarks.http.peers import ROOT
from service.preprocessing.pipeline import read_image
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.signature import PROBABILITIES
from service.settings import ServiceSettings
from tests.hostile.cases import Case
from tests.hostile.forms import TYPE, named, part
from tests.service.pictures import encode, photograph

IMAGES = ROOT / "tests" / "data" / "t10k-images-idx3-ubyte.gz"
END = b"--b--\r\n"
BATCH = 8
CLASSES = 10
JSON, PNG, FORM = "application/json", "image/png", TYPE
FORMATS = ("PNG", "BMP", "GIF", "TIFF")  # lossless in grey


class Good(NamedTuple):
    """A request, the expected classes, and how to read those of an answer."""

    kind: str
    request: bytes
    classes: list[int]
    read: Callable[[bytes], list[int]]  # the classes that an answer's body names


def good_requests(count: int) -> Sequence[Good]:
    """Make so many of each kind, of the first test images; ONNX Runtime gives the expected classes.

    Raises:
        ModelError: the released model cannot be loaded.
    """
    images = np.frombuffer(gzip.decompress(IMAGES.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)
    model = load_model(ServiceSettings(device="cpu"))
    random = np.random.default_rng(0)
    starts = range(0, count * BATCH, BATCH)
    return [good for start in starts for good in _kinds(images[start:][:BATCH], model, random)]


def _kinds(
    images: NDArray[np.uint8], model: OnnxModel, random: np.random.Generator
) -> Iterator[Good]:
    """Make one of each kind; images (N, 28, 28)."""
    one, all_of_them = _classes(images[:1], model), _classes(images, model)
    content = encode(images[0], FORMATS[one[0] % len(FORMATS)])
    parts = (part(encode(image), named("images")) for image in images)
    photo = photograph(images[0], random)
    seen = _classes(
        read_image(photo, ServiceSettings().max_image_pixels, model.signature.image), model
    )
    numbers = orjson.dumps({"images": images[:, None].tolist()})
    tensor = {"name": "image", "datatype": "UINT8", "shape": [len(images), 1, 28, 28]}
    values = orjson.dumps({"inputs": [{**tensor, "data": images.ravel().tolist()}]})
    yield Good("picture as a form", post("/classify", FORM, part(content) + END), one, _label)
    yield Good("picture as the body", post("/classify", PNG, encode(images[0])), one, _label)
    yield Good("photograph", post("/classify", "image/jpeg", photo), seen, _label)
    batch = b"".join(parts) + END
    yield Good("batch of pictures", post("/classify_batch", FORM, batch), all_of_them, _labels)
    yield Good("JSON", post("/predict", JSON, numbers), all_of_them, _class_ids)
    yield Good("OIP JSON", post(INFER, JSON, values), all_of_them, _tensor)
    yield Good("OIP binary", binary(INFER, images[:, None]), all_of_them, binary_classes)


def _classes(images: NDArray[np.uint8], model: OnnxModel) -> list[int]:
    """Classify (N, 28, 28)."""
    (probabilities,) = model.infer(images[:, None], [PROBABILITIES])  # (N, 10)
    return [int(found) for found in probabilities.argmax(1)]


def post(path: str, kind: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    """Return a request with a body of some kind."""
    return Case("", 200, "", body, path=path, headers=[("Content-Type", kind), *headers]).request()


def _label(body: bytes) -> list[int]:
    return [orjson.loads(body)["class_id"]]


def _labels(body: bytes) -> list[int]:
    return [answer["class_id"] for answer in orjson.loads(body)]


def _class_ids(body: bytes) -> list[int]:
    found: list[int] = orjson.loads(body)["class_ids"]
    return found


def _tensor(body: bytes) -> list[int]:
    outputs = {output["name"]: output["data"] for output in orjson.loads(body)["outputs"]}
    return [int(row) for row in np.reshape(outputs[PROBABILITIES], (-1, CLASSES)).argmax(1)]


def binary(path: str, images: NDArray[np.uint8]) -> bytes:
    """Return a request for the probabilities of images (BATCH, C, H, W), as bytes both ways."""
    asked = {"name": PROBABILITIES, "parameters": {"binary_data": True}}
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": images.shape,
        "parameters": {"binary_data_size": images.size},
    }
    header = orjson.dumps({"inputs": [tensor], "outputs": [asked]})
    length = ("Inference-Header-Content-Length", str(len(header)))
    return post(path, OCTETS, header + images.tobytes(), length)


def binary_classes(body: bytes) -> list[int]:
    """Return the classes in the response to it."""
    size = BATCH * CLASSES * 4  # bytes, behind a header
    return [int(row) for row in np.frombuffer(body[-size:], "<f4").reshape(BATCH, -1).argmax(1)]
