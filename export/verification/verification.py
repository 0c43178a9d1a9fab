"""Hold an ONNX file against a network: measure everything, and judge by the three criteria.

A, the graph in float64 (`export.verification.float64`). B, ONNX Runtime's float32: an error of at
most `ALLOWANCE` times eval mode's own. C, the classes: the same wherever the lead of the best is
more than twice that, so that no rounding of such a size decides.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from export.interpreter.graph import Float64Graph
from export.interpreter.node import UnknownOperatorError
from export.network.data import Images, ImageTensor
from export.network.loading import Network
from export.proof.adversarial import adversarial_images
from export.verification import float64
from export.verification.candidate import Candidate, load_graph
from export.verification.float64 import GraphDeviation, graph_deviation
from export.verification.measurement import (
    DEFAULT,
    DISABLED,
    Measurement,
    Progress,
    Reference,
)
from export.verification.refolding import refold, rounding_differences
from export.verification.start import Start, find_start
from export.verification.weights import weight_differences

# Right networks under ONNX Runtime were off by up to 3.7 times eval mode's own error, and the
# same network in another layout by up to 5.6 times.
ALLOWANCE = 8.0

DATA = "images"  # beside the kinds of adversarial ones


@dataclass(frozen=True)
class Verification:
    """All figures of a file against a network."""

    measured: Mapping[str, Measurement]  # on the images, and on each kind of adversarial ones
    graph: GraphDeviation | None  # None if an operator is not known
    unknown: str | None  # that operator
    differences: tuple[str, ...]  # of single weights, or from the file that we would write
    start: Start | None = None  # where the deviation starts, if there is one

    @property
    def own_error(self) -> float:
        """Return eval mode's own largest error on the images."""
        return self.measured[DATA].own_error

    def allowed(self, kind: str) -> float:
        """Return the largest error that criterion B allows on one kind of images.

        Some adversarial kinds are one image, where eval mode's own error is small by chance: its
        error on all kinds together is their yardstick.
        """
        kinds = [DATA] if kind == DATA else self.measured
        return ALLOWANCE * max(self.measured[kind].own_error for kind in kinds)

    def error(self, kind: str) -> float:
        """Return the file's largest error on one kind of images."""
        return max(self.measured[kind].runs[run].max_error for run in (DEFAULT, DISABLED))

    def undecided(self, kind: str = DATA) -> int:
        """Return for how many images rounding may decide the class."""
        return int((~self._decided(kind)).sum())

    def wrong(self, kind: str, run: str) -> list[int]:
        """Return the images whose class another one is, although rounding cannot decide it."""
        decided = self._decided(kind)
        return [index for index in self.measured[kind].runs[run].wrong if decided[index]]

    def _decided(self, kind: str) -> NDArray[np.bool_]:
        margins = self.measured[kind].margins
        return margins > 2 * self.allowed(kind)


def verify_candidate(
    network: Network,
    candidate: Candidate,
    images: Images,
    *,
    unrounded: Mapping[str, NDArray[np.floating]] | None = None,
    progress: Progress = lambda _: None,
) -> Verification:
    """Measure a file on images and on adversarial ones.

    Args:
        network: the network.
        candidate: the file.
        images: of the network's shape.
        unrounded: the folded weights in float64, of an export; a file that says that we wrote it
            is folded again.
        progress: is called with how many more images are done.

    Raises:
        ModelError: ONNX Runtime cannot compute the file.
    """
    reference = Reference(network)
    kinds = {k: ImageTensor(v) for k, v in adversarial_images(images.shape).items()}
    measured = {
        kind: reference.measure(candidate, some, progress)
        for kind, some in {DATA: images, **kinds}.items()
    }
    proto = load_graph(candidate.path)
    differences: tuple[str, ...] = ()
    if unrounded is None:
        unrounded, differences = refold(network, proto)
    if unrounded is None:
        differences += tuple(weight_differences(proto, network.module))
    else:
        differences += tuple(rounding_differences(proto, unrounded))
    first = next(images.batches(float64.IMAGES))
    graph, unknown = None, None
    try:
        graph = graph_deviation(network, reference.exact, candidate, proto, first, unrounded)
    except UnknownOperatorError as error:
        unknown = error.operator
    found = Verification(measured, graph, unknown, differences)
    if graph is None or not faults(found):
        return found
    start = find_start(
        reference.exact,
        network.input_format,
        candidate,
        Float64Graph(proto, unrounded),
        {tensor.name for tensor in proto.graph.initializer},
        first,
        graph.limit,
    )
    return replace(found, start=start)


def images_of_all_kinds(images: Images) -> int:
    """Return how many images `verify_candidate` measures."""
    return len(images) + sum(map(len, adversarial_images(images.shape).values()))


def faults(found: Verification) -> list[str]:
    """Return a message for each failure; an empty list is a pass."""
    failures = [
        *_graph_faults(found),
        *_error_faults(found),
        *_class_faults(found),
        *found.differences,
    ]
    if failures and found.start is not None:
        failures.append(f"the deviation starts in {found.start}")
    return failures


def _graph_faults(found: Verification) -> Iterator[str]:
    graph = found.graph
    if graph is not None and not graph.error <= graph.limit:  # NaN fails too
        reason = "which rounding its weights explains" if graph.rounding else "which is float64's"
        yield (
            f"A: in float64 its graph is off by {graph.error:.3g} of the largest logit, expected "
            f"at most {graph.limit:.3g}, {reason}"
        )


def _error_faults(found: Verification) -> Iterator[str]:
    """Yield one message for the images, and one for the adversarial kind that is furthest off."""
    over = {kind: found.error(kind) / found.allowed(kind) for kind in found.measured}
    adversarial = max((kind for kind in over if kind != DATA), key=lambda kind: _rank(over[kind]))
    for kind in (DATA, adversarial):
        if not over[kind] <= 1:  # NaN fails too
            run = max((DEFAULT, DISABLED), key=lambda run: found.measured[kind].runs[run].max_error)
            figures = found.measured[kind].runs[run]
            yield (
                f"B: on {_name(kind)} with optimisation {run} its largest logit error against "
                f"float64 is {figures.max_error:.3g} (image {figures.worst_image}), expected at "
                f"most {found.allowed(kind):.3g}, {ALLOWANCE:g} times eval mode's own"
            )


def _rank(ratio: float) -> float:
    return math.inf if math.isnan(ratio) else ratio


def _class_faults(found: Verification) -> Iterator[str]:
    for kind, measurement in found.measured.items():
        wrong = sorted({i for run in (DEFAULT, DISABLED) for i in found.wrong(kind, run)})
        if wrong:
            yield (
                f"C: on {_name(kind)} {len(wrong)} of {measurement.images} predicted classes are "
                f"others, which no rounding decides (the first: image {wrong[0]})"
            )


def _name(kind: str) -> str:
    return "the images" if kind == DATA else f"adversarial images ({kind})"
