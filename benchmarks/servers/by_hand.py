"""FastAPI and ONNX Runtime, as one writes it by hand."""

from typing import Any

from fastapi import FastAPI, UploadFile

from benchmarks.servers.onnx_model import classify, open_session

app = FastAPI()
session = open_session()


@app.post("/classify")
async def post(image: UploadFile) -> dict[str, Any]:
    """Return the class of the picture."""
    return classify(session, await image.read())
