"""A bar on a terminal, and nothing elsewhere."""

import io

from rich.console import Console

from export.verification.progress import progress_bar


def shown(terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=80)
    with progress_bar(292, console) as progress:
        progress(256)
        progress(36)
    return stream.getvalue()


def test_a_terminal_shows_how_many_images_are_done() -> None:
    assert "images measured" in shown(terminal=True)
    assert "292/292" in shown(terminal=True)


def test_a_file_gets_nothing() -> None:
    assert shown(terminal=False).strip() == ""
