"""`python -m export CHECKPOINT --out model.onnx` folds, emits and proves."""

import sys
from collections.abc import Sequence

from export.settings import ExportSettings
from training.command_line import FAILURE, complain, parse


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit status."""
    settings = parse(ExportSettings, arguments)
    # Imported here so that --help and usage errors need not wait for torch.
    from export.errors import ExportError
    from export.export import export
    from export.report import describe
    from training.errors import TrainingError

    try:
        equivalence = export(settings)
    except (ExportError, TrainingError) as error:
        complain(str(error))
        return FAILURE
    print(describe(equivalence))
    print(f"proved equal; wrote {settings.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
