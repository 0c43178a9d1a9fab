"""LitServe and ONNX Runtime, as LitServe's quick start has it."""

import sys
from typing import Any

import litserve
from fastapi import Request

from benchmarks.servers.onnx_model import classify, open_session


class Classifier(litserve.LitAPI):
    """Takes the form that `/classify` takes."""

    def setup(self, device: str) -> None:
        """Open the model in LitServe's worker."""
        self.session = open_session()

    def decode_request(self, request: Request) -> bytes:
        """Return the picture in the form, which LitServe passes as the request."""
        content: bytes = request["image"].file.read()
        return content

    def predict(self, content: bytes) -> dict[str, Any]:
        """Return the class of the picture."""
        return classify(self.session, content)

    def encode_response(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Pass the answer on."""
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(api_path="/classify"), accelerator="cpu")
    server.run(port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
