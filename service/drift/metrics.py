"""The Prometheus metrics of the input; docs/watchman.md explains them."""

from prometheus_client import Counter, Gauge

from service.drift.statistics import Floats, InputStatistics
from service.drift.window import DriftWindow
from service.telemetry.metrics import BulkHistogram

SHIFT = BulkHistogram(
    "fashion_input_shift",
    "How far an image is from the training set; beyond 1 are 1 % of its own.",
    ["model"],
    buckets=(0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10),
)
UNUSUAL = Counter("fashion_input_unusual", "Images with a shift above 1.", ["model"])
CHANNEL_MEAN = Gauge(
    "fashion_input_channel_mean",
    "Mean of a channel before the first batch norm, over the latest images.",
    ["model", "channel"],
    multiprocess_mode="livemostrecent",
)
EXPECTED_MEAN = Gauge(
    "fashion_input_expected_mean",
    "The same over the training set.",
    ["model", "channel"],
    multiprocess_mode="livemostrecent",
)
DRIFT = Gauge(
    "fashion_input_drift",
    "How far the latest images together are from the training set; above 1 is an alarm. The "
    "largest of all workers.",
    ["model"],
    multiprocess_mode="livemax",
)


def start_inputs(model: str) -> None:
    """Have a model's metrics start at 0."""
    for metric in (SHIFT, UNUSUAL, DRIFT):
        metric.labels(model)


def end_inputs(model: str) -> None:
    """Report no drift of a model that is served no more."""
    DRIFT.labels(model).set(0)


def report_inputs(
    model: str, statistics: InputStatistics, shifts: Floats, window: DriftWindow
) -> None:
    """Update the metrics with N more images.

    Args:
        model: the model's label.
        statistics: of the training set.
        shifts: the images' outlier scores, (N,).
        window: the drift window, which already has the images.
    """
    SHIFT.labels(model).observe_many(shifts)
    UNUSUAL.labels(model).inc(int((shifts > 1).sum()))
    DRIFT.labels(model).set(window.drift)
    means = zip(window.channel_means, statistics.expected_means, strict=True)
    for channel, (found, expected) in enumerate(means):
        CHANNEL_MEAN.labels(model, channel).set(found)
        EXPECTED_MEAN.labels(model, channel).set(expected)
