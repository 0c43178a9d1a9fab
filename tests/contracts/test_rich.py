"""Rich: its columns, and the attribute that says whether a bar is shown.

Stood on by `service.cli.progress`.
"""

from rich.progress import BarColumn, Progress, TaskProgressColumn


def test_the_default_columns_have_the_bar_and_the_percentage_in_these_places() -> None:
    bar, percentage = Progress.get_default_columns()[1:3]
    assert isinstance(bar, BarColumn)
    assert isinstance(percentage, TaskProgressColumn)


def test_it_tells_whether_it_is_disabled() -> None:
    assert Progress(disable=True).disable
    assert not Progress(disable=False).disable
