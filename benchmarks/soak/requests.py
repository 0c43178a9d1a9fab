"""Good requests of every kind for a soak, each with the classes that its answer must name."""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    yield Good("picture as a form", _post("/classify", FORM, part(content) + END), one, _label)
    yield Good("picture as the body", _post("/classify", PNG, encode(images[0])), one, _label)
    yield Good("photograph", _post("/classify", "image/jpeg", photo), seen, _label)
    batch = b"".join(parts) + END
    yield Good("batch of pictures", _post("/classify_batch", FORM, batch), all_of_them, _labels)
    yield Good("JSON", _post("/predict", JSON, numbers), all_of_them, _class_ids)
    yield Good("OIP JSON", _post(INFER, JSON, values), all_of_them, _tensor)
    yield Good("OIP binary", _binary(tensor, images.tobytes()), all_of_them, _bytes)


def _classes(images: NDArray[np.uint8], model: OnnxModel) -> list[int]:
    """Classify (N, 28, 28)."""
    (probabilities,) = model.infer(images[:, None], [PROBABILITIES])  # (N, 10)
    return [int(found) for found in probabilities.argmax(1)]


def _post(path: str, kind: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    return Case("", 200, "", body, path=path, headers=[("Content-Type", kind), *headers]).request()


def _binary(tensor: Mapping[str, object], content: bytes) -> bytes:
    asked = {"name": PROBABILITIES, "parameters": {"binary_data": True}}
    entry = {**tensor, "parameters": {"binary_data_size": len(content)}}
    header = orjson.dumps({"inputs": [entry], "outputs": [asked]})
    length = ("Inference-Header-Content-Length", str(len(header)))
    return _post(INFER, OCTETS, header + content, length)


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


def _bytes(body: bytes) -> list[int]:
    size = BATCH * CLASSES * 4  # bytes, behind a header
    return [int(row) for row in np.frombuffer(body[-size:], "<f4").reshape(BATCH, -1).argmax(1)]
