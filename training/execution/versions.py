"""The versions of the software that trains a network."""

import platform
from importlib.metadata import version


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    packages = ("torch", "numpy", "safetensors")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
