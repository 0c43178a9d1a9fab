"""What can go wrong in an export, as one tree.

    ExportError
    ├── FoldError          a batch norm cannot be folded
    ├── GraphError         a layer has no ONNX counterpart here
    ├── ModelError         a file is no model, or a model with another interface
    └── EquivalenceError   the folded network is not the network it came from

Every message names the thing, the value found, and what would be right. The
program prints it and exits with status 1, leaving no model behind.
"""


class ExportError(Exception):
    """Any failure the user can act on; its message is the whole explanation."""


class FoldError(ExportError):
    """A batch norm cannot be folded."""


class GraphError(ExportError):
    """A layer has no ONNX counterpart here."""


class ModelError(ExportError):
    """A file is no ONNX model, or one that takes or gives something else than images and logits."""


class EquivalenceError(ExportError):
    """The folded network is not the network it came from."""
