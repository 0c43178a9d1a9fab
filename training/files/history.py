"""What is remembered of each epoch."""

from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation import Evaluation
from training.learner import TrainedEpoch


@dataclass(frozen=True)
class Epoch:
    """One epoch: what its batches said, and what the held images said after it."""

    number: int  # from 1
    trained: TrainedEpoch
    held: Evaluation  # of the test set, or of the validation split
    seconds: float  # of training, compilation included, evaluation not

    def as_metrics(self, held_name: str) -> dict[str, Any]:
        """Return the epoch as metrics.json and log.jsonl have it; held_name: test, validation."""
        return {
            "epoch": self.number,
            "train_loss": self.trained.loss,
            "train_accuracy": self.trained.accuracy,
            f"{held_name}_loss": self.held.loss,
            f"{held_name}_accuracy": self.held.accuracy,
            "images_per_second": round(self.trained.images_per_second, 1),
            "seconds": round(self.seconds, 3),
        }

    def as_state(self) -> dict[str, Any]:
        """Return the epoch as plain values for the resume file."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Epoch":
        """Read back what `as_state` wrote."""
        return cls(
            state["number"],
            TrainedEpoch(**state["trained"]),
            Evaluation(**state["held"]),
            state["seconds"],
        )
