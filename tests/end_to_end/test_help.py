"""What `--help` says of each option is what the option does."""

import re
from collections.abc import Callable, Sequence

import pytest

from export.__main__ import main as export
from service.cli.main import main as service
from training.__main__ import main as training

Main = Callable[[Sequence[str]], int]
OPTION = re.compile(r"^  (-\S+.*)\n((?: {6,}.*\n)*)", re.MULTILINE)


def options(text: str) -> dict[str, str]:
    """Each option of a help text, with what is said of it."""
    found = {}
    for first, more in OPTION.findall(text[text.index("\noptions:") :]):
        names, _, said = first.partition("  ")
        found[names.split()[-1] if ", " in names else names.split()[0]] = " ".join(
            (said + more).split()
        )
    return found


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (training, []),
        (training, ["report"]),
        (training, ["data"]),
        (export, []),
        (export, ["verify"]),
        (export, ["inspect"]),
        (service, ["classify"]),
        (service, ["info"]),
    ],
)
def test_no_option_is_described_as_its_opposite(
    main: Main, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    found = options(capsys.readouterr().out)
    assert "--help" in found
    for name, said in found.items():
        if name.startswith("--no-"):
            assert re.match("(leave|do not) ", said), name
            assert "(default: True)" not in said, name


def test_options_are_found_in_a_help_text() -> None:
    text = """usage: x

options:
  -h, --help            show this help
                        message
  --out Path            a file
  --no-wheels
                        write wheels (default: True)
"""
    assert options(text) == {
        "--help": "show this help message",
        "--out": "a file",
        "--no-wheels": "write wheels (default: True)",
    }
