"""Folds batch norm: `checkpoint.safetensors` comes in, a proven `model.onnx` goes out.

Each imports from the lines below its own alone, and from training;
tests/documentation/test_packages.py sees to it.

    __main__
    export, inspection, verify
    settings
    metadata
    proof
    onnx_file
    folding, origin
    errors
"""

import os

# ONNX Runtime looks at it when it is imported, and else keeps a number of this machine in the
# user's folder, for Microsoft's statistics.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
