"""Read what the options name: the network with its weights, its images, its labels."""

from pathlib import Path

from export.errors import NetworkError
from export.network.data import Images, read_images
from export.network.input_format import InputFormat
from export.network.loading import Network, build, load_weights, network, with_weights
from export.network.options import NetworkOptions
from training.data.labels import read_labels


def read_network(options: NetworkOptions, weights: Path) -> Network:
    """Return the network that the options name, with its weights; options.network is given.

    Raises:
        NetworkError: the network cannot be built, or its weights do not fit.
    """
    input_format = InputFormat.of(options.shape, options.means, options.stds)
    found = load_weights(weights)  # before a user's code runs
    module = build(str(options.network), options.keyword_arguments)
    return network(with_weights(module, found, weights), input_format)


def read_data(options: NetworkOptions, net: Network) -> Images:
    """Return the images that the options name, after checking that they fit the network.

    Raises:
        ImagesError: there are none, or they have another shape or other classes.
        IdxError: a file is not a complete IDX array.
    """
    return read_images(Path(str(options.data)), net.input_format.shape, options.images)


def class_names(options: NetworkOptions, net: Network, images: Images) -> tuple[str, ...]:
    """Return the classes' names: the labels file's, else the data's, else their numbers.

    Raises:
        DatasetError: the labels file cannot be read.
        NetworkError: there are more or fewer of them than classes.
    """
    if options.labels is not None:
        names, source = read_labels(options.labels), str(options.labels)
    elif images.names is not None:
        names, source = images.names, str(options.data)
    else:
        return tuple(map(str, range(net.num_classes)))
    if len(names) != net.num_classes:
        raise NetworkError(
            f"{source} names {len(names)} classes, but the network has {net.num_classes}: "
            "expected one name for each"
        )
    return names
