"""The folder of models that a soak changes: two LeNets of different labels, and other networks."""

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import onnx
import orjson
from numpy.typing import NDArray
from PIL import Image

from benchmarks.exported_networks import NORMALIZATION, network
from benchmarks.soak.requests import BATCH, IMAGES, PNG, Good, binary, binary_classes, post
from export import export_network
from export.onnx_file.outputs import OPTIMISATIONS
from export.onnx_file.session import open_session
from service.grpc.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from service.runtime.signature import PROBABILITIES
from service.settings import RELEASED_MODEL
from tests.service.models import change_metadata, metadata_of
from tests.service.pictures import save

DEFAULT, OTHER = "fashion_lenet", "upper_case_lenet"
VERSIONS = ("1.0.0", "1.0.1")


@dataclass(frozen=True)
class ChangingModel:
    """A model whose file is replaced by another version of the same network.

    Attributes:
        name: of the model.
        path: the file that is served.
        versions: their files, one after the other and again.
        http: requests, with the classes that ONNX Runtime computes here.
        grpc: the same for ModelInfer.
    """

    name: str
    path: Path
    versions: Iterator[Path]
    http: Sequence[Good]
    grpc: Sequence[Good]

    def replace(self) -> None:
        """Put the next version in place."""
        new = self.path.with_suffix(".new")
        os.link(next(self.versions), new)
        new.replace(self.path)


def write_models(folder: Path, networks: Sequence[str]) -> list[ChangingModel]:
    """Write two LeNets and networks of `benchmarks.exported_networks`, and make their requests.

    Raises:
        ExportError: a network is refused.
    """
    lenet = onnx.load(RELEASED_MODEL)
    content = gzip.decompress(IMAGES.read_bytes())[16:]
    images = np.frombuffer(content[: 8 * BATCH * 28 * 28], np.uint8).reshape(-1, 1, 28, 28)
    models = [_write(folder, DEFAULT, lenet, images)]
    change_metadata(lenet, labels=json.dumps([label.upper() for label in _labels(lenet)]))
    models.append(_write(folder, OTHER, lenet, images))
    for name in networks:
        model, samples = network(name)  # samples (8, 3, S, S)
        path = folder / f"{name}.onnx"
        export_network(
            model, samples, out=path, mean=NORMALIZATION.mean, std=NORMALIZATION.std, name=name
        )
        models.append(_write(folder, name, onnx.load(path), samples.numpy()))
    return models


def _write(
    folder: Path, name: str, model: onnx.ModelProto, images: NDArray[np.uint8]
) -> ChangingModel:
    """Write a model's versions; images (N, C, S, S) are for its requests."""
    path = folder / "served" / name / "model.onnx"
    path.parent.mkdir(parents=True)
    files = []
    for version in VERSIONS:
        change_metadata(model, version=version)
        files.append(folder / f"{name}-{version}.onnx")
        files[-1].write_bytes(model.SerializeToString())
    session = open_session(str(files[0]), OPTIMISATIONS["default"])
    (probabilities,) = session.run([PROBABILITIES], {"image": images})  # (N, 10)
    classes = [int(found) for found in probabilities.argmax(1)]
    http, grpc = [], []
    for start in range(0, len(images), BATCH):
        batch, found = images[start : start + BATCH], classes[start : start + BATCH]
        infer = f"/v2/models/{name}/infer"
        http.append(Good(f"HTTP {name}", binary(infer, batch), found, binary_classes))
        grpc += [_grpc(name, batch, found), _grpc(name, batch[:1], found[:1])]
    http += _pictures(name, images, classes, _labels(model))
    made = ChangingModel(name, path, cycle(files), http, grpc)
    made.replace()
    return made


def _pictures(
    name: str, images: NDArray[np.uint8], classes: Sequence[int], labels: list[str]
) -> Iterator[Good]:
    """Make a request for each image (N, C, S, S) as PNG, whose response must name its label."""

    def label(body: bytes) -> list[int]:
        named = orjson.loads(body)["label"]
        return [labels.index(named) if named in labels else -1]

    for image, found in zip(images, classes, strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0).squeeze())
        request = post(f"/classify?model={name}", PNG, save(picture, "PNG"))
        yield Good(f"HTTP {name}", request, [found], label)


def _grpc(name: str, images: NDArray[np.uint8], classes: list[int]) -> Good:
    """Make a call of ModelInfer for images (N, C, S, S)."""
    request = ModelInferRequest(model_name=name, raw_input_contents=[images.tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=images.shape)
    request.outputs.add(name=PROBABILITIES)
    return Good(f"gRPC {name}", request.SerializeToString(), classes, _grpc_classes)


def _grpc_classes(content: bytes) -> list[int]:
    response = ModelInferResponse.FromString(content)
    probabilities = np.frombuffer(response.raw_output_contents[0], "<f4")  # (N * K,)
    return [int(row) for row in probabilities.reshape(response.outputs[0].shape).argmax(1)]


def _labels(model: onnx.ModelProto) -> list[str]:
    names: list[str] = json.loads(metadata_of(model)["labels"])
    return names
