"""Muon against its definition and against torch's."""

import pytest
import torch

from training.optimization.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(6, 25), (25, 6), (16, 16), (120, 256)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    before = matrix.clone()
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert torch.equal(matrix, before)
    assert values.max() < 1.3
    assert values.median() > 0.6


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_the_singular_vectors_stay(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    U, _, Vh = torch.linalg.svd(matrix, full_matrices=False)
    core = U.T @ orthogonalize(matrix) @ Vh.T
    torch.testing.assert_close(core, core.diagonal().diag(), rtol=0, atol=1e-9)


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert torch.equal(orthogonalize(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_steps_are_torchs_up_to_its_bfloat16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    mine = Muon([ours], lr=0.02, momentum=0.9, weight_decay=0.1)
    torchs = torch.optim.Muon([theirs], lr=0.02, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        torchs.step()
    # Three steps of 0.02 with entries of about 0.2, bfloat16's error of 2^-8 grown by 5 iterations.
    assert (ours - theirs).abs().max() < 1e-3
    assert (ours - start).abs().max() > 1e-2


def test_a_convolution_steps_like_its_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(4, 3, 2, 2, generator=generator)
    gradient = torch.randn(4, 3, 2, 2, generator=generator)
    as_kernel = kernel.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
    as_matrix = kernel.flatten(1).clone().requires_grad_()
    as_kernel.grad, as_matrix.grad = gradient, gradient.flatten(1)
    Muon([as_kernel, as_matrix], lr=0.1, momentum=0.95, weight_decay=0.0).step()
    torch.testing.assert_close(as_kernel.detach().flatten(1), as_matrix.detach())
