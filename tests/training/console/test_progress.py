"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from training.console import progress
from training.console.progress import ProgressDisplay
from training.evaluation import Evaluation
from training.files.history import Epoch
from training.learner import Glimpse, TrainedEpoch

EPOCH = Epoch(2, TrainedEpoch(0.5, 0.75, 12_345.6), Evaluation(0.4, 0.8), 3.0)


def test_a_file_gets_one_plain_line_per_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    with ProgressDisplay(epochs=10, done=1, held_name="test") as shown:
        shown.glimpse(Glimpse(20, 234, 0.7, 0.6, 9000.0))
        shown.epoch(EPOCH)
    assert capsys.readouterr().out == (
        "epoch  2/10  loss 0.5000  train 0.7500  test 0.8000  12,346 images/s  0:00 left\n"
    )


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay(epochs=1, done=0, held_name="test") as shown:
        shown.say("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_a_terminal_gets_a_bar_with_loss_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "Console", lambda **_: terminal)
    with ProgressDisplay(epochs=10, done=1, held_name="test") as shown:
        shown.glimpse(Glimpse(117, 234, 0.7, 0.6, 9000.0))
    text = screen.getvalue()
    assert "epoch 2/10  loss 0.7000  train 0.6000  9,000 images/s" in text
    assert "15 %" in text
    assert ":" in text.split("15 %")[1]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3700, "1:01:40")]
)
def test_the_time_left_is_told_in_minutes_or_hours(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    shown: str,
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with ProgressDisplay(epochs=4, done=1, held_name="test") as display:
        now += seconds / 2  # the second epoch took it, and two are left
        display.epoch(EPOCH)
    assert capsys.readouterr().out.endswith(f"  {shown} left\n")
