"""Golden samples of a network of the user's: a few of its images, and the logits to expect."""

import copy

import torch

from export.errors import ImagesError
from export.metadata.properties import samples_text
from export.network.data import Images
from export.network.loading import Network
from export.onnx_file.outputs import one_thread

MOST = 10
MOST_BYTES = 2**22  # of all images together: the whole file is read at each start and reload


def network_samples(network: Network, images: Images, own_error: float) -> str:
    """Return, as JSON, images of different classes and the logits that a device must give.

    Args:
        network: the trained network.
        images: N images; of the first of each class up to 10 are taken, or of all images where
            they have no labels, and fewer if they are large.
        own_error: eval mode's own largest error in float32; the tolerance is ten times that.

    Raises:
        ImagesError: eval mode has no error, so that there is no tolerance.
    """
    if not own_error > 0:
        raise ImagesError(
            "the network's logits have no rounding error on these images, which gives a device no "
            "tolerance: expected images on which the network's answers differ"
        )
    chosen = images.take(_choose(network, images))  # (G, C, H, W)
    exact = copy.deepcopy(network.module).double()
    with torch.no_grad(), one_thread():
        logits = exact(network.input_format.normalise(chosen, torch.float64))  # (G, K)
    return samples_text(chosen, logits.numpy(), own_error)


def _choose(network: Network, images: Images) -> list[int]:
    """Return the indices of the images, in order, one at least."""
    if images.labels is None:
        found = list(range(len(images)))
    else:
        labels = images.labels
        found = [int((labels == label).nonzero()[0]) for label in torch.unique(labels)]
    channels, height, width = network.input_format.shape
    count = max(1, min(MOST, MOST_BYTES // (channels * height * width), len(found)))
    return sorted({found[index * len(found) // count] for index in range(count)})
