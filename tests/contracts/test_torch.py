"""torch: many tensors moved at once, and what its compiler raises.

Stood on by `training.optimization.moving_average` and `training.execution.compilation`.
"""

import pytest
import torch


def test_foreach_lerp_moves_each_tensor_in_its_place() -> None:
    moved = [torch.zeros(3), torch.ones(2, 2)]
    towards = [torch.full((3,), 4.0), torch.zeros(2, 2)]
    torch._foreach_lerp_(moved, towards, 0.25)
    assert torch.equal(moved[0], torch.ones(3))
    assert torch.equal(moved[1], torch.full((2, 2), 0.75))


def test_inductor_can_be_told_to_choose_nothing_by_timing() -> None:
    from torch._inductor import config

    assert config.deterministic is False  # its default, so that it is ours to set


def test_a_compiler_that_fails_raises_what_is_caught() -> None:
    from torch._dynamo.exc import TorchDynamoException  # seconds, in each process that collects

    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> None:
        raise OSError("no C++ compiler")

    torch.compiler.reset()
    with pytest.raises(TorchDynamoException, match=r"no C\+\+ compiler"):
        torch.compile(lambda x: x + 1, backend=broken)(torch.ones(1))  # type: ignore[arg-type]
    torch.compiler.reset()
