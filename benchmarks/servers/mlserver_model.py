"""MLServer's custom runtime with ONNX Runtime."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.servers.onnx_model import infer, open_session


class Classifier(MLModel):
    """Takes the tensor `image`, gives `probabilities`."""

    async def load(self) -> bool:
        """Open the model."""
        self.session = open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classify images (N, 1, 28, 28)."""
        images = NumpyCodec.decode_input(payload.inputs[0])  # (N, 1, 28, 28) uint8
        probabilities = infer(self.session, images)  # (N, 10)
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])
