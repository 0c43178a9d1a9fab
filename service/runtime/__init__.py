"""The model file, loaded as an ONNX Runtime session and checked."""
