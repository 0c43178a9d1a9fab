"""What the Open Inference Protocol tells of a worker's models, over HTTP or gRPC.

Sources: the protocol's "Model Metadata"; Triton's extension "Model repository".
"""

from collections.abc import Collection
from typing import Any

from service.errors import InvalidInput
from service.inference.data_plane import DataPlane
from service.oip.protocol import describe_model


def model_metadata(data_plane: DataPlane, name: str, version: str | None) -> dict[str, Any]:
    """Return the metadata of a model, with all its versions or the one that is given.

    Raises:
        NotFound, NotReady: as in `DataPlane.named`.
    """
    model = data_plane.named(name, version).model
    versions = data_plane.versions(model.name) if version is None else [version]
    return describe_model(model.name, versions, model.signature)


def repository_index(data_plane: DataPlane, only_ready: bool) -> list[dict[str, str]]:
    """Return all models with their versions and states, or those that are ready."""
    return [
        entry._asdict() for entry in data_plane.index() if entry.state == "READY" or not only_ready
    ]


def check_load_parameters(names: Collection[str]) -> None:
    """Check the parameters of a load.

    Raises:
        InvalidInput: there are any.
    """
    if names:
        raise InvalidInput(
            f"a load takes no parameters, got {str(list(names))[:60]}: the model is as its "
            "files say"
        )
