"""The ONNX model: write its graph, read its file, compute its outputs."""
