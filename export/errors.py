"""What can go wrong in an export, as one tree.

    ExportError
    ├── NetworkError       a network cannot be built, its weights do not fit, it is no classifier
    ├── ImagesError        the images to prove it on cannot be read, or do not fit it
    ├── FoldError          a batch norm cannot be folded
    ├── GraphError         a layer has no ONNX counterpart here
    ├── ModelError         a file is not a model, or a model with another interface
    └── EquivalenceError   the folded network is not the network it came from

Every message names the thing, the value found, and what is expected. The
program prints it and exits with status 1; no model is written.
"""


class ExportError(Exception):
    """Any failure the user can act on; its message is the whole explanation."""


class NetworkError(ExportError):
    """A network cannot be built, its weights do not fit, or it is no image classifier."""


class ImagesError(ExportError):
    """The images to prove a network on cannot be read, or do not fit it."""


class FoldError(ExportError):
    """A batch norm cannot be folded."""


class GraphError(ExportError):
    """A layer has no ONNX counterpart here."""


class ModelError(ExportError):
    """A file is not an ONNX model, or its inputs or outputs are not images and logits."""


class EquivalenceError(ExportError):
    """The folded network is not the network it came from."""


def one_line(error: BaseException) -> str:
    """Return an exception as "KeyError: 'x'", without line breaks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
