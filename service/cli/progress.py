"""Show the progress of a long run on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A progress bar that can be hidden while something is printed."""

    def __init__(self, progress: Progress, total: int) -> None:
        """Show the bar at 0 of total."""
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def advance(self, steps: int) -> None:
        """Count steps as done."""
        self._progress.advance(self._task, steps)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the bar during the block, so that the block can print."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


@contextmanager
def progress_bar(total: int) -> Iterator[ProgressBar]:
    """Show a bar on standard error during the block; none for one step or without a terminal."""
    console = Console(stderr=True)
    progress = Progress(
        *Progress.get_default_columns()[1:3],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Standard output may be a file; rich would redirect it to standard error.
        redirect_stdout=False,
        redirect_stderr=False,
        disable=total < 2 or not console.is_interactive,
    )
    with progress:
        yield ProgressBar(progress, total)


@contextmanager
def counter(done: int) -> Iterator[Callable[[int], None]]:
    """Show a counter of images on standard error during the block; nothing without a terminal.

    Args:
        done: number of images that are done already.

    Yields:
        A function that takes the number of further images done.
    """
    console = Console(stderr=True)
    columns = TextColumn("{task.completed:,.0f} pictures"), TextColumn("{task.fields[speed]}")
    progress = Progress(
        *columns, console=console, transient=True, disable=not console.is_interactive
    )
    with progress:
        task = progress.add_task("", total=None, completed=done, speed="")

        def count(more: int) -> None:
            if progress.disable:
                return
            speed = progress.tasks[0].speed
            shown = f"{speed:,.0f} a second" if speed else ""
            progress.update(task, advance=more, speed=shown)

        yield count
