"""Export a checkpoint of LeNet-BN: fold, emit, prove, and only then write."""

import json
from dataclasses import asdict

import onnx

from export.metadata.input_statistics import measure
from export.metadata.properties import attach, golden_samples, provenance
from export.onnx_file.lenet import emit_lenet
from export.origin import read_origin, read_test_set, read_training_set
from export.proof.equivalence import refuse
from export.proof.file import proof_text, versions
from export.proof.prove import Proof, faults, prove
from export.proof.refolding import refold
from export.settings import PROOF, ExportSettings
from training.files.atomic_write import write_together
from training.files.folders import check_folder, make_folder


def export(settings: ExportSettings) -> Proof:
    """Write `settings.out` and `equivalence.json` beside it, if the proof holds.

    An existing model and proof are replaced together or not at all.

    Raises:
        ExportError: the network cannot be folded or emitted, or the proof fails.
        TrainingError: the checkpoint or the data set cannot be read, or the
            result cannot be written.
    """
    proof_path = settings.out.parent / PROOF
    check_folder(settings.out.parent)
    origin = read_origin(settings.checkpoint)
    test = read_test_set(settings.data, origin)
    train = None if settings.no_input_statistics else read_training_set(settings.data, origin)
    proto = emit_lenet(origin.model).model
    proof = prove(origin.model, proto, refold(origin.model), test.images)
    refuse(faults(proof))
    attach(
        proto,
        version=settings.model_version,
        labels=origin.labels,
        provenance=json.dumps(provenance(origin.metadata, origin.sha256, versions())),
        equivalence=asdict(proof.equivalence),
        golden_samples=golden_samples(origin.model, test.images, test.labels, proof.equivalence),
        input_statistics=measure(origin.model, train.images).to_json() if train else None,
    )
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString()
    make_folder(settings.out.parent)
    # Together, so that the proof always belongs to the model beside it.
    write_together({settings.out: content, proof_path: proof_text(content, origin, test, proof)})
    return proof
