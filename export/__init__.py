"""Folds batch norm: `checkpoint.safetensors` comes in, a proven `model.onnx` goes out."""
