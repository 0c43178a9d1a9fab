"""One model of a worker: the versions that are served, and why others are not."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

from service.errors import ModelError, NotFound, NotReady
from service.inference.served_model import ServedModel
from service.runtime.onnx_model import read_model, sha256
from service.runtime.repository import ModelFile, name_list

# Opens, checks and warms up a file's content as a model.
Open = Callable[[ModelFile, bytes], ServedModel]


class ModelVersions:
    """A model's versions at one moment; a load gives another object of this class.

    Attributes:
        name: of the model.
        versions: by their files, the lowest version first; for one that is not served, why.
        served: the versions that are served, the lowest first.
        reason: why the highest of the others is not.
        is_unloaded: whether a request has unloaded it.
    """

    def __init__(
        self,
        name: str,
        versions: Mapping[ModelFile, ServedModel | str],
        reason: str = "",
        is_unloaded: bool = False,
    ) -> None:
        """Keep the versions; reason says why there are none."""
        self.versions = versions
        self.served = [found for found in versions.values() if isinstance(found, ServedModel)]
        self.reason = [reason, *(found for found in versions.values() if isinstance(found, str))][
            -1
        ]
        self.is_unloaded = is_unloaded
        # The model of FASHION_MODEL has the name in its file.
        self.name = self.served[-1].model.name if self.served else name

    @classmethod
    def unloaded(cls, name: str) -> Self:
        """Return a model that a request has unloaded."""
        return cls(name, {}, "unloaded: a request can load it again", is_unloaded=True)

    @property
    def latest(self) -> ServedModel:
        """The highest version that is served.

        Raises:
            NotReady: there is none.
        """
        if not self.served:
            raise NotReady(self.reason)
        return self.served[-1]

    def version(self, version: str) -> ServedModel:
        """Return one version.

        Raises:
            NotFound: there is no such version.
            NotReady: it is not served.
        """
        for file, found in self.versions.items():
            if isinstance(found, str):
                if file.version == version:
                    raise NotReady(found)
            elif found.model.version == version:
                return found
        _ = self.latest  # if there is none, the reason says more
        versions = name_list([served.model.version for served in self.served])
        raise NotFound(f"there is no version {version[:60]!r} of {self.name}: there is {versions}")


class Loaded(NamedTuple):
    """The result of a load."""

    model: ModelVersions
    faults: list[str]  # why versions are not served, or stay as they were
    unchanged: dict[ModelFile, ServedModel]  # whose files have the same content as before


def load_versions(before: ModelVersions, files: Sequence[ModelFile], open_file: Open) -> Loaded:
    """Load a model's versions; those whose files have not changed are taken over.

    A version that cannot be served stays as it was before.
    """
    versions: dict[ModelFile, ServedModel | str] = {}
    unchanged: dict[ModelFile, ServedModel] = {}
    faults = []
    for file in files:
        earlier = before.versions.get(file)
        try:
            content = read_model(file.path)
            if isinstance(earlier, ServedModel) and earlier.model.sha256 == sha256(content):
                versions[file] = unchanged[file] = earlier
            else:
                versions[file] = open_file(file, content)
        except ModelError as error:
            versions[file] = earlier if isinstance(earlier, ServedModel) else str(error)
            faults.append(str(error))
    return Loaded(ModelVersions(before.name, versions), faults, unchanged)
