"""Show the progress of a run: a bar on a terminal, else one plain line per epoch."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from training.files.history import Epoch
from training.learner import Glimpse


class ProgressDisplay:
    """Shows the progress of a run, which may be a resumed one."""

    def __init__(self, epochs: int, done: int, held_name: str) -> None:
        """Create the display, with a bar if standard output is a terminal."""
        self.epochs, self.done, self.held_name = epochs, done, held_name
        self._first, self._start = done, time.monotonic()
        self._console = Console(highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=epochs, completed=done)

    def __enter__(self) -> "ProgressDisplay":
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop drawing; the cursor is on an empty line."""
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def glimpse(self, now: Glimpse) -> None:
        """Update the bar."""
        self._bar.update(
            self._task,
            completed=self.done + now.step / now.steps,
            description=f"epoch {self.done + 1}/{self.epochs}  loss {now.loss:.4f}  "
            f"train {now.accuracy:.4f}  "
            f"{now.images_per_second:,.0f} images/s",
        )

    def epoch(self, epoch: Epoch) -> None:
        """Print the epoch's line."""
        self.done = epoch.number
        width = len(str(self.epochs))
        self.say(
            f"epoch {epoch.number:{width}}/{self.epochs}  "
            f"loss {epoch.trained.loss:.4f}  train {epoch.trained.accuracy:.4f}  "
            f"{self.held_name} {epoch.held.accuracy:.4f}  "
            f"{epoch.trained.images_per_second:,.0f} images/s  {self._remaining()} left"
        )

    def _remaining(self) -> str:
        elapsed = time.monotonic() - self._start
        seconds = round(elapsed / (self.done - self._first) * (self.epochs - self.done))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
