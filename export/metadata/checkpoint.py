"""Compare a model's metadata with the checkpoint that it should come from."""

from pathlib import Path

import onnx

from export.metadata.input_statistics import KEY, differences, measure
from export.origin import Origin, read_training_set
from export.proof.refolding import metadata_differences


def checkpoint_differences(
    proto: onnx.ModelProto, origin: Origin, data: Path | None, *, input_statistics: bool
) -> list[str]:
    """Return how labels, provenance and input statistics differ from the checkpoint's.

    Args:
        proto: the model.
        origin: the checkpoint.
        data: the folder of its IDX files; None to search for Fashion-MNIST.
        input_statistics: whether to compare them, for which the training set is read.

    Raises:
        TrainingError: the training set cannot be read.
        ExportError: it is another one.
    """
    found = metadata_differences(proto, origin.labels, origin.sha256)
    statistics = {entry.key: entry.value for entry in proto.metadata_props}.get(KEY)
    if statistics is not None and input_statistics:
        train = read_training_set(data, origin)
        found += differences(statistics, measure(origin.model, train.images))
    return found
