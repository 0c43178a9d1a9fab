"""A grpc.aio server with nothing around it: the limit of gRPC with this work in it.

    python -m benchmarks.servers.bare_grpc PORT

`ModelInfer` of the Open Inference Protocol, for raw contents: it answers with the probabilities.
"""

import sys

import grpc
import numpy as np

from benchmarks.servers.onnx_model import infer, open_session
from service.grpc.open_inference_pb2 import ModelInferRequest, ModelInferResponse

session = open_session()


async def model_infer(request: ModelInferRequest, context: object) -> ModelInferResponse:
    """Answer one request."""
    images = np.frombuffer(request.raw_input_contents[0], np.uint8)
    probabilities = infer(session, images.reshape(request.inputs[0].shape))  # (N, 10)
    response = ModelInferResponse(model_name="fashion_lenet", raw_output_contents=[b""])
    response.outputs.add(name="probabilities", datatype="FP32", shape=probabilities.shape)
    response.raw_output_contents[0] = probabilities.tobytes()
    return response


async def main(port: int) -> None:
    """Serve until terminated."""
    handler = grpc.unary_unary_rpc_method_handler(
        model_infer, ModelInferRequest.FromString, ModelInferResponse.SerializeToString
    )
    methods = {"ModelInfer": handler}
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server = grpc.aio.server(handlers=[service])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
