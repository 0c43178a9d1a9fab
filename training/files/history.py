"""The record of each epoch."""

from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation import Evaluation
from training.learner import TrainedEpoch


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch, on its batches and then on the held images."""

    number: int  # from 1
    trained: TrainedEpoch
    held: Evaluation  # of the test set, or of the validation split
    seconds: float  # of training, with compilation, without evaluation

    def as_metrics(self, held_name: str) -> dict[str, Any]:
        """Return the epoch for metrics.json and log.jsonl; held_name is test or validation."""
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
        """Return the epoch from the values of `as_state`."""
        return cls(
            state["number"],
            TrainedEpoch(**state["trained"]),
            Evaluation(**state["held"]),
            state["seconds"],
        )
