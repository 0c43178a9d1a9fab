"""Muon: momentum in which every update is an orthogonal matrix.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon. torch.optim.Muon takes only matrices
and computes in bfloat16; this one also takes convolutions and computes in float32.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# a X + b (X X^T) X + c (X X^T)^2 X moves singular values towards 1; these coefficients raise the
# smallest ones fastest of all such polynomials (the post, "Newton-Schulz").
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
TINY = 1e-7  # avoids a division by zero for a zero gradient


class Muon(Optimizer):
    """Stochastic gradient descent with Nesterov momentum, orthogonalized, for hidden weights.

        M = momentum * M + (1 - momentum) * G
        U = momentum * M + (1 - momentum) * G
        W = (1 - lr * weight_decay) * W - lr * sqrt(max(1, rows / columns)) * orthogonalize(U)

    A convolution's kernel (C_out, C_in, H, W) counts as a matrix of C_out rows.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        """Take weights of two or more axes."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; closure is ignored."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        matrix = gradient.lerp(average, group["momentum"]).flatten(1)  # (rows, columns)
        rows, columns = matrix.shape
        rate = group["lr"] * max(1, rows / columns) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.sub_(rate * orthogonalize(matrix).view(weight.shape))


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return the matrix with all singular values near 1, by Newton-Schulz iteration.

    Args:
        matrix: (rows, columns) float32 or float64; not modified.

    Returns:
        About U V^T for matrix = U S V^T: singular values between 0.7 and 1.2,
        except those that were tiny compared with the largest one.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    X: Tensor = matrix if wide else matrix.T  # (short, long)
    X = X / (X.norm() + TINY)  # no singular value above 1
    for _ in range(ITERATIONS):
        A = X @ X.T  # (short, short)
        X = a * X + (b * A + c * A @ A) @ X  # (short, long)
    return X if wide else X.T
