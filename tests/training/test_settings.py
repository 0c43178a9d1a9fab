"""The documentation describes every option, and a run stores its settings."""

from pathlib import Path

import pytest

from training.settings import ReportSettings, TrainingSettings

DOCS = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TrainingSettings.model_fields)
def test_every_option_is_documented(name: str) -> None:
    assert f"\n| `--{name.replace('_', '-')}` |" in DOCS


def test_every_option_has_help() -> None:
    for settings in (TrainingSettings, ReportSettings):
        for name, field in settings.model_fields.items():
            assert field.description, name


def test_what_is_said_now_goes_over_what_was_stored() -> None:
    now = TrainingSettings(seed=3, resume=True)
    merged = now.over({"seed": 1, "epochs": 5, "recipe": "release"})
    assert (merged.seed, merged.epochs, merged.recipe) == (3, 5, "release")
    assert merged.resume
