"""Which software a network was trained with."""

import platform
from importlib.metadata import version


def software_versions() -> dict[str, str]:
    """Return Python's version and those of the packages that compute."""
    packages = ("torch", "numpy", "safetensors")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
