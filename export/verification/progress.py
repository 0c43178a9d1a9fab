"""Show how far a long measurement is: a bar on a terminal, else nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.verification.measurement import Progress as Report


@contextmanager
def progress_bar(total: int, console: Console | None = None) -> Iterator[Report]:
    """Show a bar on standard error while images are measured; yield what moves it.

    Args:
        total: the number of images.
        console: where to draw; else standard error.
    """
    console = console or Console(stderr=True)
    with Progress(
        TextColumn("images measured"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda more: bar.update(task, advance=more)
