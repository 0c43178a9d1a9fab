"""Small networks of any shape and number of classes, as `python -m export` writes them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FEATURES, SAMPLES = 8, 4


@dataclass(frozen=True)
class Network:
    """What a small network takes and how many classes it has."""

    name: str
    shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    preprocessing: dict[str, Any] | None = None

    @property
    def labels(self) -> list[str]:
        """The names of the classes."""
        return [f"{self.name} {index}" for index in range(self.classes)]

    def images(self, count: int, seed: int = 0) -> NDArray[np.uint8]:
        """Random images (count, C, H, W), each with a brightness of its own."""
        generator = np.random.default_rng(seed)
        brightness = generator.uniform(0.2, 1, (count, 1, 1, 1))
        noise = generator.integers(0, 256, (count, *self.shape))  # (count, C, H, W)
        return (noise * brightness).astype(np.uint8)

    def write(self, path: Path, seed: int = 0, **changes: str | None) -> Path:
        """Write the model, with pieces of metadata changed or (None) left out."""
        model = self._graph(seed)
        session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        images = self.images(SAMPLES, seed)  # (G, C, H, W)
        (logits,) = session.run(["logits"], {"image": images})  # (G, K)
        metadata: dict[str, str | None] = {
            "name": self.name,
            "version": "1.0.0",
            "labels": json.dumps(self.labels),
            "golden_samples": json.dumps(
                {
                    "images": base64.b64encode(images.tobytes()).decode(),
                    "logits": logits.astype(np.float64).tolist(),
                    "tolerance": 1e-3 * float(np.abs(logits).max()),
                }
            ),
            "preprocessing": json.dumps(self.preprocessing) if self.preprocessing else None,
        }
        kept = {key: text for key, text in (metadata | changes).items() if text is not None}
        helper.set_model_props(model, kept)
        path.write_bytes(model.SerializeToString())
        return path

    def _graph(self, seed: int) -> onnx.ModelProto:
        """Convolution of 3 x 3, ReLU, the mean of each quarter of the image, and a linear layer."""
        C, H, W = self.shape
        random = np.random.default_rng(seed)

        def constant(name: str, *shape: int, scale: float = 1) -> TensorProto:
            values = scale * random.standard_normal(shape)
            return numpy_helper.from_array(values.astype(np.float32), name)

        half = [-(-H // 2), -(-W // 2)]
        nodes = [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["pixels", "weight", "bias"], ["maps"], pads=[1] * 4),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node(
                "AveragePool", ["positive"], ["means"], kernel_shape=half, strides=half, ceil_mode=1
            ),
            helper.make_node("Flatten", ["means"], ["features"]),
            helper.make_node("Gemm", ["features", "linear", "offsets"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ]
        constants = [
            constant("weight", FEATURES, C, 3, 3, scale=1 / 255),
            constant("bias", FEATURES),
            constant("linear", 4 * FEATURES, self.classes),
            constant("offsets", self.classes),
        ]
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", C, H, W])
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", self.classes])
            for name in ("logits", "probabilities")
        ]
        graph = helper.make_graph(nodes, self.name, [image], outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# What the tests serve, one after the other.
SQUARE = Network("square", (1, 32, 32), 3, {"pipeline": "fashion-mnist"})
CROPPED = Network("cropped", (3, 64, 64), 1000, {"pipeline": "center-crop", "resize": 72})
TWO = Network("two", (1, 28, 28), 2)
OBLONG = Network("oblong", (3, 20, 30), 5, {"pipeline": "resize"})
NETWORKS = (SQUARE, CROPPED, TWO, OBLONG)
