"""The Open Inference Protocol over gRPC, on a worker's event loop beside HTTP."""
