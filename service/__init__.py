"""Serves the folded network over HTTP: `model.onnx` comes in, answers go out. Needs no torch."""
