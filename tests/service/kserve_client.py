"""Call a server with KServe's own client, in its own environment.

Called as `python kserve_client.py URL IMAGES`, IMAGES being a .npy file of uint8 (N, 1, 28, 28).
Prints what it got as JSON.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "fashion_lenet"


async def main(url: str, path: str) -> dict[str, Any]:
    images = np.load(path)  # (N, 1, 28, 28)
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=60)) as client:
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, MODEL),
            "other_model_ready": await client.is_model_ready(url, "resnet"),
            "json": await outputs(client, url, images, sent=False, wanted=False),
            "binary": await outputs(client, url, images, sent=True, wanted=True),
            "mixed": await outputs(client, url, images, sent=True, wanted=False),
            "refusal": await refusal(client, url, images[0]),
        }


async def outputs(
    client: InferenceRESTClient, url: str, images: Any, *, sent: bool, wanted: bool
) -> dict[str, str]:
    """Both outputs' bytes, by their names."""
    tensor = InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=sent)
    names = ("probabilities", "logits")
    wanted_outputs = [RequestedOutput(name, {"binary_data": wanted}) for name in names]
    request = InferRequest(MODEL, [tensor], request_id="7", request_outputs=wanted_outputs)
    answer = await client.infer(url, request, model_name=MODEL)
    assert answer.id == "7"
    return {output.name: output.as_numpy().tobytes().hex() for output in answer.outputs}


async def refusal(client: InferenceRESTClient, url: str, image: Any) -> str:
    """The error for an image without a batch axis."""
    tensor = InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image, binary_data=False)
    try:
        await client.infer(url, InferRequest(MODEL, [tensor]), model_name=MODEL)
    except httpx.HTTPStatusError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
