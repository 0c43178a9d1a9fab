"""`python -m export verify`: compare an existing model with the checkpoint it should come from."""

from dataclasses import replace

from export.metadata.checkpoint import checkpoint_differences
from export.onnx_file.reading import check_interface, parse_model, read_bytes
from export.onnx_file.session import computed_on
from export.origin import read_origin, read_test_set
from export.proof.file import write_proof
from export.proof.golden import golden_differences
from export.proof.prove import Proof, prove
from export.proof.refolding import refold
from export.settings import VerifySettings


def verify(settings: VerifySettings) -> Proof:
    """Return the measured proof; write the report and the plot if requested. `faults` judges it.

    Raises:
        ExportError: the model does not fit this checkpoint, so that nothing can
            be measured.
        TrainingError: the checkpoint or the data set cannot be read, or the
            report cannot be written.
    """
    content = read_bytes(settings.model)
    origin = read_origin(settings.checkpoint)
    refolded = refold(origin.model)
    proto = parse_model(content, settings.model)
    check_interface(proto, refolded, settings.model)
    test = read_test_set(settings.data, origin)
    with computed_on(settings.device):
        proof = prove(origin.model, proto, refolded, test.images)
        on_gpu = golden_differences(proto) if settings.device == "cuda" else []
    of_metadata = checkpoint_differences(
        proto, origin, settings.data, input_statistics=not settings.no_input_statistics
    )
    proof = replace(proof, differences=(*proof.differences, *of_metadata, *on_gpu))
    if settings.json_report is not None:
        write_proof(settings.json_report, content, origin, test, proof)
    if settings.plot is not None:
        # Imported here so that matplotlib is loaded only for --plot.
        from export.proof.error_histogram import histogram_figure
        from training.figures.png import write_png

        write_png(settings.plot, histogram_figure(proof))
    return proof
