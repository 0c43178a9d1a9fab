"""The model files of the settings, and what is in them.

That is one file, or a folder of models in the layout of Triton.

    MODELS/NAME/model.onnx                            one version, which the file's metadata names
    MODELS/NAME/1/model.onnx, MODELS/NAME/2/...       versions, named by their folders

Source of the layout: Triton Inference Server, "Model Repository".
"""

import hashlib
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from service.errors import ModelError
from service.settings import RELEASED_NAME, ServiceSettings
from service.signature import shortened_list

FILE = "model.onnx"
MOST_BYTES = 2**31 - 1  # of a file: protobuf's own limit; the released model has 200,000
# Names appear in URLs, in metrics and in the log. Those that begin with a point are hidden folders,
# such as Kubernetes makes for the files of a volume.
NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
VERSION = re.compile(r"[1-9][0-9]{0,17}")


class ModelFile(NamedTuple):
    """One version of a model, in a file."""

    path: Path
    name: str | None = None  # of the model; None: as the file's metadata says
    version: str | None = None


def find_models(settings: ServiceSettings) -> dict[str, list[ModelFile]]:
    """Return the files of each model, by its name; of several versions the lowest first.

    A model of `FASHION_MODEL` has the name of its file's folder until its metadata has been read.

    Raises:
        ModelError: the folder cannot be read, or holds no model.
    """
    if settings.model is not None:
        return {settings.model.resolve().parent.name: [ModelFile(settings.model)]}
    try:
        folders = sorted(entry for entry in settings.models.iterdir() if entry.is_dir())
        named = {one.name: _versions(one) for one in folders if NAME.fullmatch(one.name)}
    except OSError as error:
        raise ModelError(
            f"FASHION_MODELS={settings.models}: cannot read {error.filename}: {error.strerror}; "
            "expected a folder of models"
        ) from error
    found = {name: files for name, files in named.items() if files}
    if not found:
        raise ModelError(
            f"FASHION_MODELS={settings.models} has no model: expected NAME/{FILE}, or "
            f"NAME/1/{FILE} for versions"
        )
    return found


def default_name(settings: ServiceSettings, names: Collection[str]) -> str:
    """Return the name of the model that serves requests which name none.

    Raises:
        ModelError: it is not among the names, or the settings do not say which one it is.
    """
    if settings.model is not None:
        return next(iter(names))
    if settings.default_model is not None:
        if settings.default_model not in names:
            raise ModelError(
                f"FASHION_DEFAULT_MODEL={settings.default_model}: there is no such model in "
                f"{settings.models}: there is {name_list(names)}"
            )
        return settings.default_model
    if RELEASED_NAME in names or len(names) == 1:
        return RELEASED_NAME if RELEASED_NAME in names else next(iter(names))
    raise ModelError(
        f"FASHION_MODELS={settings.models} has {name_list(names)}: set FASHION_DEFAULT_MODEL to "
        "the one that serves requests which name none"
    )


def default_file(settings: ServiceSettings) -> ModelFile:
    """Return the file of the default model's highest version.

    Raises:
        ModelError: as in `find_models` and `default_name`.
    """
    found = find_models(settings)
    return found[default_name(settings, found)][-1]


def with_model(settings: ServiceSettings, model: str) -> ServiceSettings:
    """Return settings whose default model is the one in a file, or the one with a name.

    Args:
        settings: have the folder of models that have names.
        model: a path or, if there is no such file, a name.

    Raises:
        ModelError: there is neither such a file nor such a model; or as in `find_models`.
    """
    file = Path(model)
    if file.exists() and not file.is_dir():
        return settings.model_copy(update={"model": file})
    several = settings.model_copy(update={"model": None, "default_model": model})
    names = find_models(several)
    if model not in names:
        raise ModelError(
            f"cannot read the model {model}: No such file, nor a model of {settings.models}: "
            f"there is {name_list(names)}"
        )
    return several


def name_list(names: Collection[str]) -> str:
    """Return names for an error message; of many the first ones."""
    return shortened_list([repr(name) for name in sorted(names)]) or "none"


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a model's file in hexadecimal digits, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def read_model(path: Path) -> bytes:
    """Return the bytes of a model's file.

    Raises:
        ModelError: the file cannot be read, or is too large.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"the model {path} is not a regular file")
            if status.st_size > MOST_BYTES:
                raise ModelError(
                    f"the model {path} has {status.st_size:,} bytes, {MOST_BYTES:,} are the limit"
                )
            return file.read(status.st_size)
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; "
            "set FASHION_MODEL to a model.onnx that `python -m export` wrote, or FASHION_MODELS to "
            "a folder of such models"
        ) from error


def _versions(folder: Path) -> list[ModelFile]:
    """Return a model's files; a `model.onnx` beside version folders is not one of them."""
    numbers = sorted(
        int(entry.name)
        for entry in folder.iterdir()
        if VERSION.fullmatch(entry.name) and (entry / FILE).exists()
    )
    if numbers:
        return [
            ModelFile(folder / str(number) / FILE, folder.name, str(number)) for number in numbers
        ]
    file = folder / FILE
    return [ModelFile(file, folder.name)] if file.exists() else []


def _open(path: str, flags: int) -> int:
    """Open a file without waiting, as the opening of a named pipe does for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
