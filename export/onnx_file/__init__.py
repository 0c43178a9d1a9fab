"""The ONNX model: its graph written, its file read, its answers computed."""
