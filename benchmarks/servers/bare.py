"""An ASGI application with nothing around it: the limit of uvicorn with this work in it.

`POST /classify` takes a PNG as the body; `POST /infer` the bytes of images, and answers with
the bytes of their probabilities.
"""

from typing import Any

import numpy as np
import orjson

from benchmarks.servers.onnx_model import classify, infer, open_session

session = open_session()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if not body:  # the question whether it is ready
        kind, answer = b"text/plain", b"ready"
    elif scope["path"] == "/classify":
        kind, answer = b"application/json", orjson.dumps(classify(session, body))
    else:
        images = np.frombuffer(body, np.uint8).reshape(-1, 1, 28, 28)  # (N, 1, 28, 28)
        kind, answer = b"application/octet-stream", infer(session, images).tobytes()
    headers = [(b"content-type", kind), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
