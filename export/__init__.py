"""Fold batch norm: read `checkpoint.safetensors`, write a proven `model.onnx`."""

import os

# ONNX Runtime reads this at import. Without it, it stores an identifier of this machine in the
# user's folder, for Microsoft's telemetry.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
