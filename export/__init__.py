"""Fold batch norm: read a trained network, write a proven `model.onnx`; judge anyone's.

from export import export_network, faults, verify_network
"""

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime reads this at import. Without it, it stores an identifier of this machine in the
# user's folder, for Microsoft's telemetry.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from export.network_export import export_network as export_network
    from export.verification.verification import faults as faults
    from export.verify_file import verify_network as verify_network

PUBLIC = {
    "faults": "export.verification.verification",
    "export_network": "export.network_export",
    "verify_network": "export.verify_file",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, since that loads torch."""
    from importlib import import_module

    if name not in PUBLIC:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)
