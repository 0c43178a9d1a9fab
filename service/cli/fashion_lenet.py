"""The command `fashion-lenet`, for people who install the wheel.

Each of its commands runs what `python -m training`, `export`, `service` or `bentoml` run, in the
place of this process. With `-P`, since a folder called `training` may lie where it is called.
"""

import os
import sys
from importlib.util import find_spec
from typing import NamedTuple

from service.version import SERVER, SERVER_VERSION

USAGE = 2
TRAIN = ("torch", "train")  # a module of the extra, and the extra


class Command(NamedTuple):
    """What a command runs."""

    module: tuple[str, ...]  # as behind `python -m`
    help: str
    needs: tuple[str, str] | None = None  # a module, and the extra that installs it


COMMANDS = {
    "train": Command(("training",), "train a network", TRAIN),
    "report": Command(("training", "report"), "draw the pictures of a run", TRAIN),
    "data": Command(("training", "data"), "find Fashion-MNIST, or fetch it", TRAIN),
    "export": Command(("export",), "fold a checkpoint, write model.onnx and prove it", TRAIN),
    "verify": Command(("export", "verify"), "prove a model.onnx against its checkpoint", TRAIN),
    "seal": Command(("export", "seal"), "make anyone's ONNX file one that can be served", TRAIN),
    "inspect": Command(("export", "inspect"), "show what a model.onnx holds", TRAIN),
    "classify": Command(("service", "classify"), "classify image files without a server"),
    "info": Command(("service", "info"), "show the model that is served, and the device"),
    "serve": Command(
        ("bentoml", "serve", "service.classifier:FashionClassifier"), "serve over HTTP"
    ),
}


def main() -> int:
    """Run the command that `sys.argv` names.

    Returns:
        The exit status, for help and usage errors; otherwise the command takes this process over.
    """
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"{SERVER} {SERVER_VERSION}")
        return 0
    if name not in COMMANDS:
        print(f"{usage()}\nerror: expected a command, got {name!r}", file=sys.stderr)
        return USAGE
    command = COMMANDS[name]
    if command.needs and find_spec(command.needs[0]) is None:
        module, extra = command.needs
        print(
            f"error: fashion-lenet {name} needs {module}, which is not installed: "
            f"pip install '{SERVER}[{extra}]'",
            file=sys.stderr,
        )
        return USAGE
    program = [sys.executable, "-P", "-m", *command.module, *arguments]
    return os.execv(program[0], program)  # noqa: S606 (no shell is meant)


def usage() -> str:
    """Return the help text."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fashion-lenet COMMAND [OPTION ...]",
            "",
            *lines,
            "",
            "fashion-lenet COMMAND --help shows the options of one.",
        ]
    )
