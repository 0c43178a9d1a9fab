"""Drives a server with KServe's own gRPC client, which has an environment of its own.

Called as `python kserve_grpc_client.py ADDRESS IMAGES`, IMAGES being a .npy file of uint8
(N, 1, 28, 28). Prints what it got as JSON.
"""

import asyncio
import json
import sys
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

MODEL = "fashion_lenet"


async def main(address: str, path: str) -> dict[str, Any]:
    images = np.load(path)  # (N, 1, 28, 28)
    async with InferenceGRPCClient(address, timeout=60) as client:
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready(MODEL),
            "typed": await outputs(client, images, raw=False),
            "raw": await outputs(client, images, raw=True),
            "refusal": await refusal(client, images[0]),
        }


async def outputs(client: InferenceGRPCClient, images: Any, *, raw: bool) -> dict[str, str]:
    """Both outputs' bytes, by their names."""
    tensor = InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=raw)
    names = ("probabilities", "logits")
    request = InferRequest(
        MODEL, [tensor], request_id="7", request_outputs=[RequestedOutput(name) for name in names]
    )
    answer = await client.infer(request)
    assert answer.id == "7"
    return {output.name: output.as_numpy().tobytes().hex() for output in answer.outputs}


async def refusal(client: InferenceGRPCClient, image: Any) -> str:
    """What it says of an image without an axis for the batch."""
    tensor = InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image, binary_data=True)
    try:
        await client.infer(InferRequest(MODEL, [tensor]))
    except grpc.RpcError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
