"""What can go wrong in an export, as one tree.

    ExportError
    ├── FoldError          a batch norm cannot be folded
    ├── GraphError         a layer has no ONNX counterpart here
    ├── ModelError         a file is not a model, or a model with another interface
    └── EquivalenceError   the folded network is not the network it came from

Every message names the thing, the value found, and what is expected. The
program prints it and exits with status 1; no model is written.
"""


class ExportError(Exception):
    """Any failure the user can act on; its message is the whole explanation."""


class FoldError(ExportError):
    """A batch norm cannot be folded."""


class GraphError(ExportError):
    """A layer has no ONNX counterpart here."""


class ModelError(ExportError):
    """A file is not an ONNX model, or its inputs or outputs are not images and logits."""


class EquivalenceError(ExportError):
    """The folded network is not the network it came from."""
