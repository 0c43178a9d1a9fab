"""`python -m export` folds, emits and proves; `... verify` proves, `... inspect` shows a model."""

import sys
from collections.abc import Sequence

from export.errors import ExportError
from export.settings import ExportSettings, InspectSettings, VerifySettings
from training.command_line import FAILURE, complain, parse, run
from training.errors import TrainingError

KNOWN = (ExportError, TrainingError)


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status."""
    match arguments:
        case ["verify", *rest]:
            return run(_verify, parse(VerifySettings, rest), KNOWN)
        case ["inspect", *rest]:
            return run(_inspect, parse(InspectSettings, rest), KNOWN)
        case _:
            return run(_export, parse(ExportSettings, arguments), KNOWN)


# Each program imports what it needs: --help and usage errors need not wait for torch.


def _export(settings: ExportSettings) -> int:
    from export.export import export
    from export.report import describe

    print(describe(export(settings)))
    print(f"proved equal; wrote {settings.out}")
    return 0


def _verify(settings: VerifySettings) -> int:
    from export.proof import faults
    from export.report import describe
    from export.verify import verify

    proof = verify(settings)
    print(describe(proof))
    found = faults(proof)
    for fault in found:
        complain(fault)
    if found:
        print(f"FAIL: {settings.model} is not {settings.checkpoint}, folded")
        return FAILURE
    print(f"PASS: {settings.model} is {settings.checkpoint}, folded")
    return 0


def _inspect(settings: InspectSettings) -> int:
    from export.inspection import inspect_model

    print(inspect_model(settings.model))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
