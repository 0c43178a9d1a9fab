"""Names of the Open Inference Protocol that routes and their description share."""

EXTENSIONS = ("binary_tensor_data", "classification")
PLATFORM = "onnxruntime_onnx"  # Triton's name for it
