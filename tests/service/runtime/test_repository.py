"""The models of a folder, their versions, and the default one."""

from pathlib import Path

import pytest

from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.runtime.repository import default_file, default_name, find_models, with_model
from service.settings import RELEASED_MODEL, ServiceSettings
from tests.service.many_models import add_model


def settings(folder: Path, **more: str) -> ServiceSettings:
    return ServiceSettings(device="cpu", models=folder, **more)  # type: ignore[arg-type]


def test_each_folder_with_a_model_is_one_under_its_name(models_folder: Path) -> None:
    found = find_models(settings(models_folder))
    assert list(found) == ["broken", "colour", "first", "second"]
    assert [(file.version, file.path.parent.name) for file in found["second"]] == [
        ("2", "2"),
        ("10", "10"),
    ]
    (first,) = found["first"]
    assert first == (models_folder / "first" / "model.onnx", "first", None)


def test_name_and_version_are_those_of_the_folders(models_folder: Path) -> None:
    chosen = settings(models_folder, default_model="second")
    model = load_model(chosen)
    assert (model.name, model.version) == ("second", "10")
    model = load_model(chosen, find_models(chosen)["first"][0])
    assert (model.name, model.version) == ("first", "1.0.0")


def test_a_file_is_served_alone(models_folder: Path) -> None:
    alone = settings(models_folder, model=str(RELEASED_MODEL))
    assert list(find_models(alone)) == ["fashion_lenet"]
    assert default_file(alone).path == RELEASED_MODEL
    assert load_model(alone).name == "fashion_lenet"


@pytest.mark.parametrize(
    ("names", "chosen", "default"),
    [
        (["a"], None, "a"),
        (["a", "fashion_lenet"], None, "fashion_lenet"),
        (["a", "fashion_lenet"], "a", "a"),
    ],
)
def test_the_default_model(names: list[str], chosen: str | None, default: str) -> None:
    assert default_name(ServiceSettings(default_model=chosen), names) == default


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("c", "FASHION_DEFAULT_MODEL=c: there is no such model in /m: there is 'a', 'b'"),
        (None, "FASHION_MODELS=/m has 'a', 'b': set FASHION_DEFAULT_MODEL to the one"),
    ],
)
def test_a_default_model_that_cannot_be_told(chosen: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        default_name(ServiceSettings(models=Path("/m"), default_model=chosen), ["a", "b"])


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has no model: expected NAME/model.onnx, or NAME/1/"):
        find_models(settings(tmp_path))
    with pytest.raises(ModelError, match="No such file or directory; expected a folder of models"):
        find_models(settings(tmp_path / "missing"))


def test_a_model_is_chosen_by_its_file_or_its_name(models_folder: Path) -> None:
    here = settings(models_folder)
    assert with_model(here, "second").default_model == "second"
    assert with_model(here, str(RELEASED_MODEL)).model == RELEASED_MODEL
    with pytest.raises(ModelError, match="cannot read the model third: No such file, nor a model"):
        with_model(here, "third")


def test_a_model_beside_version_folders_is_not_a_version(tmp_path: Path) -> None:
    add_model(tmp_path, "one")
    add_model(tmp_path / "one", "3")
    assert [file.version for file in find_models(settings(tmp_path))["one"]] == ["3"]
