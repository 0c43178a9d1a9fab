"""Folds batch norm: `checkpoint.safetensors` comes in, a proven `model.onnx` goes out."""

import os

# ONNX Runtime looks at it when it is imported, and else keeps a number of this machine in the
# user's folder, for Microsoft's statistics.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
