"""What can go wrong in training, as one tree.

    TrainingError
    ├── IdxError          a file is not the expected IDX array
    ├── DatasetError      a data set is missing, corrupt, or does not fit together
    ├── CheckpointError   a checkpoint cannot be read, or holds another network
    ├── RecipeError       a recipe is unknown, or its values contradict each other
    ├── RunError          a run directory cannot be written, resumed or reported on
    └── DivergenceError   the loss is no longer a finite number

Every message names the thing, the value found, and what is expected. The
program prints it on one line and exits with status 1.
"""


class TrainingError(Exception):
    """Any failure the user can act on; its message is the whole explanation."""


class IdxError(TrainingError):
    """A file is not the expected IDX array."""


class DatasetError(TrainingError):
    """A data set is missing, corrupt, or its files do not fit together."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or holds another network."""


class RecipeError(TrainingError):
    """A recipe is unknown, or its values contradict each other."""


class RunError(TrainingError):
    """A run directory cannot be written, resumed or reported on."""


class DivergenceError(TrainingError):
    """The loss is no longer a finite number."""
