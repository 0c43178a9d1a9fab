"""`python -m export seal`: make a servable model of any exporter's file, if it is the network."""

from dataclasses import replace

from export.errors import EquivalenceError, ModelError, one_line
from export.network.reading import read_data, read_network
from export.onnx_file.reading import read_bytes
from export.origin import sha256
from export.proved_model import describe_model, verify_model, write_model
from export.servable import servable
from export.settings import SealSettings
from export.verification.candidate import open_candidate
from export.verification.verification import Verification, faults
from training.files.folders import check_folder


def seal(settings: SealSettings) -> Verification:
    """Write `settings.out` and `equivalence.json` beside it, if what is written is the network.

    What is verified is not the file but the model made of it, as the service will read it.

    Returns:
        The figures of the model that was written.

    Raises:
        ExportError: the network, its images or the file cannot be read, or do not fit together;
            the file cannot be served, or is not the network.
        TrainingError: a file of the data or of the labels cannot be read, or the result cannot be
            written.
    """
    check_folder(settings.out.parent)
    content = read_bytes(settings.model)
    net = read_network(settings, settings.checkpoint)
    images = read_data(settings, net)
    description = describe_model(settings, settings.checkpoint, net, images)
    candidate = open_candidate(settings.model, net, settings.output)
    model = servable(candidate, net.input_format)
    try:
        found = verify_model(net, model, images)
    except ModelError as error:
        at_once = "" if candidate.batch is None else f" and was exported for {candidate.batch}"
        raise ModelError(
            f"{settings.model} does not compute every number of images at once, which the service "
            f"needs{at_once}: export it with a dynamic batch ({one_line(error.__cause__ or error)})"
        ) from error
    if failures := faults(found):
        raise EquivalenceError(
            f"{settings.model} is not {settings.network} with {settings.checkpoint}, so nothing is "
            f"written: {'; '.join(failures)}"
        )
    sealed = {"model_sha256": sha256(content), "producer": model.producer_name}
    description = replace(description, provenance={**description.provenance, "sealed": sealed})
    write_model(settings.out, model, net, images, found, description, {"sealed": sealed})
    return found
