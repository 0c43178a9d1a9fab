"""Types of the arrays that go through the service: images, and the network's outputs."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # (N, C, H, W)
Arrays = list[NDArray[np.float32]]  # (N, K) each
Infer = Callable[[Images, Sequence[str]], Arrays]
