"""`python -m export` exports a proven model.

`... verify` proves one, `... seal` makes one of any ONNX file, `... inspect` shows one.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.console.interruption import loading, run_until_interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from export.settings import ExportSettings, InspectSettings, SealSettings, VerifySettings

# Other modules are imported later, so that --help does not wait for torch.


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status."""
    return run_until_interrupted(_run, arguments)


def _run(arguments: Sequence[str]) -> int:
    with loading():
        from export.errors import ExportError
        from export.settings import ExportSettings, InspectSettings, SealSettings, VerifySettings
        from training.console.command_line import parse, run
        from training.errors import TrainingError

    known = (ExportError, TrainingError)
    match arguments:
        case ["verify", *rest]:
            return run(_verify, parse(VerifySettings, rest), known)
        case ["seal", *rest]:
            return run(_seal, parse(SealSettings, rest), known)
        case ["inspect", *rest]:
            return run(_inspect, parse(InspectSettings, rest), known)
        case _:
            return run(_export, parse(ExportSettings, arguments), known)


def _export(settings: "ExportSettings") -> int:
    with loading():
        from export.export import export
        from export.network_export import export_settings
        from export.proof.report import describe

    lenet = settings.network is None and _is_lenet(settings.checkpoint)
    print(describe(export(settings)) if lenet else export_settings(settings))
    print(f"proved equal; wrote {settings.out}")
    return 0


def _verify(settings: "VerifySettings") -> int:
    if settings.network is not None or not _is_lenet(settings.checkpoint):
        return _verify_network(settings)
    with loading():
        from export.proof.equivalence import ALLOWANCE, GPU_ALLOWANCE
        from export.proof.prove import faults
        from export.proof.report import describe
        from export.verify import verify

    proof = verify(settings)
    print(describe(proof))
    found = faults(proof, GPU_ALLOWANCE if settings.device == "cuda" else ALLOWANCE)
    return _verdict(found, _model(settings), f"{settings.checkpoint}, folded")


def _verify_network(settings: "VerifySettings") -> int:
    with loading():
        from export.verification.report import describe
        from export.verification.verification import faults
        from export.verify_file import verify_file

    found = verify_file(settings)
    print(describe(found))
    network = (
        f"{settings.checkpoint}, folded"
        if settings.network is None
        else f"{settings.network} with {settings.checkpoint}"
    )
    return _verdict(faults(found), _model(settings), network)


def _is_lenet(checkpoint: "Path") -> bool:
    """Return whether a checkpoint has LeNet-BN, for which the proof has stricter limits."""
    from training.files.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint).network == "lenet_bn"


def _model(settings: "VerifySettings") -> str:
    return f"{settings.model}, on a GPU," if settings.device == "cuda" else str(settings.model)


def _verdict(faults: Sequence[str], model: str, network: str) -> int:
    """Print all faults and the verdict; return the exit status."""
    from training.console.command_line import FAILURE, complain

    for fault in faults:
        complain(fault)
    print(f"FAIL: {model} is not {network}" if faults else f"PASS: {model} is {network}")
    return FAILURE if faults else 0


def _seal(settings: "SealSettings") -> int:
    with loading():
        from export.seal import seal
        from export.verification.report import describe

    print(describe(seal(settings)))
    print(f"PASS: {settings.model} is {settings.network} with {settings.checkpoint}")
    print(f"sealed; wrote {settings.out}")
    return 0


def _inspect(settings: "InspectSettings") -> int:
    with loading():
        from export.inspection import inspect_model

    print(inspect_model(settings.model))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
