"""Hold an ONNX file against a PyTorch network: `verify --network`, and the same in Python.

A checkpoint's network other than LeNet-BN is verified in the same way.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from export.metadata.checkpoint import checkpoint_differences
from export.network.data import Images, ImageTensor
from export.network.input_format import InputFormat
from export.network.loading import Network
from export.network.loading import network as as_network
from export.network.reading import class_names, read_data, read_network
from export.onnx_file.reading import parse_model, read_bytes
from export.onnx_file.session import computed_on
from export.origin import read_origin, read_test_set, sha256
from export.proof.file import circumstances, report_text
from export.proof.golden import golden_differences
from export.settings import VerifySettings
from export.verification.candidate import open_candidate
from export.verification.measurement import CONTIGUOUS, DEFAULT, DISABLED, Measurement
from export.verification.progress import progress_bar
from export.verification.report import as_json
from export.verification.verification import (
    DATA,
    Verification,
    images_of_all_kinds,
    verify_candidate,
)
from training.data.dataset import SIDE
from training.files.atomic_write import write_atomically


def verify_network(
    model: nn.Module,
    path: str | Path,
    images: Tensor,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    output: str | None = None,
) -> Verification:
    """Measure an ONNX file against a network; `faults` of the result judges it.

        found = verify_network(model.eval(), "model.onnx", images, mean=0.5, std=0.25)
        assert not faults(found)

    Args:
        model: the network in eval mode; takes (N, C, H, W) float32 and returns logits (N, K). It
            is not modified.
        path: the file. It takes (N, C, H, W), either the same float32 values or uint8 bytes.
        images: (N, C, H, W) uint8, N at least 1 and C 1 or 3: what the network's values are made
            of, (byte / 255 - mean) / std.
        mean: of images in [0, 1]; one number, or one for each channel.
        std: the same, above 0.
        output: which output has the logits, if several have their shape (N, K).

    Raises:
        NetworkError: the network is no classifier of such images, or is in train mode.
        ImagesError: the images have another dtype or shape.
        ModelError: the file cannot be computed, or has another interface.
    """
    data = ImageTensor(images)
    net = as_network(model, InputFormat.of(data.shape, mean, std))
    return verify_candidate(net, open_candidate(Path(path), net, output), data)


def verify_file(settings: VerifySettings) -> Verification:
    """Return the figures of a file; write the report and the plot if requested.

    The network is the one that the settings name, else the checkpoint's.

    Raises:
        ExportError: the network, its images or the file cannot be read, or do not fit together.
        TrainingError: a file of the data or of the labels cannot be read, or the report cannot be
            written.
    """
    content = read_bytes(settings.model)
    name, found = _of_network(settings) if settings.network else _of_checkpoint(settings, content)
    if settings.json_report is not None:
        report = {
            **as_json(found),
            "network": name,
            "model_sha256": sha256(content),
            "weights_sha256": sha256(settings.checkpoint.read_bytes()),
            **circumstances(),
        }
        write_atomically(settings.json_report, report_text(report))
    if settings.plot is not None:
        _plot(settings.plot, found.measured[DATA])
    return found


def _of_network(settings: VerifySettings) -> tuple[str, Verification]:
    net = read_network(settings, settings.checkpoint)
    images = read_data(settings, net)
    if settings.labels is not None:
        class_names(settings, net, images)
    return str(settings.network), _measure(settings, net, images)


def _of_checkpoint(settings: VerifySettings, content: bytes) -> tuple[str, Verification]:
    proto = parse_model(content, settings.model)
    origin = read_origin(settings.checkpoint)
    test = read_test_set(settings.data, origin)
    net = as_network(origin.model, InputFormat.of((1, SIDE, SIDE)))
    found = _measure(settings, net, ImageTensor(test.images, test.labels))
    of_metadata = checkpoint_differences(
        proto, origin, settings.data, input_statistics=not settings.no_input_statistics
    )
    with computed_on(settings.device):
        on_gpu = golden_differences(proto) if settings.device == "cuda" else []
    differences = (*found.differences, *of_metadata, *on_gpu)
    return origin.network, replace(found, differences=differences)


def _measure(settings: VerifySettings, net: Network, images: Images) -> Verification:
    with computed_on(settings.device):
        candidate = open_candidate(settings.model, net, settings.output)
    with progress_bar(images_of_all_kinds(images)) as progress:
        return verify_candidate(net, candidate, images, progress=progress)


def _plot(path: Path, measured: Measurement) -> None:
    # Imported here so that matplotlib is loaded only for --plot.
    from export.proof.error_histogram import errors_figure
    from training.figures.png import write_png

    titles = {
        CONTIGUOUS: "eval mode, float32",
        DEFAULT: "the model, optimisation default",
        DISABLED: "the model, optimisation disabled",
    }
    runs = {
        title: (measured.runs[name].histogram, measured.runs[name].max_error)
        for name, title in titles.items()
    }
    write_png(path, errors_figure(runs, measured.images))
