"""A model file as a checked ONNX Runtime session."""
