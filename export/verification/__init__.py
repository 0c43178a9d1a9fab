"""Anyone's ONNX file held against a PyTorch network: is it that network?"""
