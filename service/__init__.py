"""Serves the folded network over HTTP: `model.onnx` comes in, answers go out. Needs no torch."""

import os

# ONNX Runtime looks at it when it is imported, and else keeps a number of this machine in the
# user's folder, for Microsoft's statistics.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
