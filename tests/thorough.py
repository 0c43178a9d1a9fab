"""The number of examples of a property: few, and all with THOROUGH=1."""

import os

THOROUGH = os.environ.get("THOROUGH") == "1"


def examples(number: int, thorough: int) -> int:
    """Return how many examples Hypothesis makes of a property."""
    return thorough if THOROUGH else number
