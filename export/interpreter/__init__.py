"""Compute an ONNX graph in float64, whatever precision it is written in."""
