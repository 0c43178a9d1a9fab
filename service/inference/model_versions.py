"""One model of a worker: the versions that are served, and why others are not."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Self

from service.errors import NotFound, NotReady
from service.inference.served_model import ServedModel
from service.runtime.repository import ModelFile, name_list


class IndexEntry(NamedTuple):
    """One version of a model, in the index of all models."""

    name: str
    version: str  # empty where it is not known
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""  # why it is not ready


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
        reasons = [found for found in versions.values() if isinstance(found, str)]
        self.reason = reasons[-1] if reasons else reason
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
            NotFound: the version does not exist.
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

    def index(self) -> list[IndexEntry]:
        """Return the versions, also those that are not served; at least one entry."""
        entries = [
            IndexEntry(self.name, file.version or "", "UNAVAILABLE", found)
            if isinstance(found, str)
            else IndexEntry(self.name, found.model.version, "READY")
            for file, found in self.versions.items()
        ]
        return entries or [IndexEntry(self.name, "", "UNAVAILABLE", self.reason)]
