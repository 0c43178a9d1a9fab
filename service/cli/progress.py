"""How far a long run is, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A bar that makes room for what is printed."""

    def __init__(self, progress: Progress, total: int) -> None:
        """Show it, at nothing of total."""
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def advance(self, steps: int) -> None:
        """Note steps that are done."""
        self._progress.advance(self._task, steps)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away for the block, which may print where the bar was."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


@contextmanager
def progress_bar(total: int) -> Iterator[ProgressBar]:
    """Show a bar on standard error until the block ends; none for one step, or for no terminal."""
    console = Console(stderr=True)
    progress = Progress(
        *Progress.get_default_columns()[1:3],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Standard output may be a file, and would go to standard error.
        redirect_stdout=False,
        redirect_stderr=False,
        disable=total < 2 or not console.is_interactive,
    )
    with progress:
        yield ProgressBar(progress, total)


@contextmanager
def counter(done: int) -> Iterator[Callable[[int], None]]:
    """Count what is done on standard error until the block ends; nothing for no terminal.

    Args:
        done: before.

    Yields:
        What to tell of more.
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
