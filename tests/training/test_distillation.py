"""What teachers answer, and what a student's loss makes of it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from training.data.dataset import Split
from training.data.pixels import to_float
from training.distillation import SoftTargets, distillation_loss
from training.networks.registry import NETWORKS
from training.recipes import DISTILLED

T = DISTILLED.temperature
V = 18  # mirrored or not, 3 x 3 shifts


def answers(teachers: list[nn.Sequential], X: Tensor) -> Tensor:
    """log p (n, K) in float64 for views (n, 1, 28, 28), as the docstring defines it."""
    with torch.no_grad():
        logits = [teacher(to_float(X)).to(torch.float64) for teacher in teachers]
    return torch.stack([(z / T).softmax(1) for z in logits]).mean(0).log()


@pytest.mark.parametrize("members", [1, 2])
def test_the_table_has_the_teachers_answers_for_each_view_of_each_image(
    real: Split, trained: nn.Sequential, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.BATCH", 16)
    images = real.images[:35]
    teachers = [trained, NETWORKS["resnet_bn"](10).eval()][:members]
    table = SoftTargets(DISTILLED, teachers, images).table()
    assert (table.shape, table.dtype) == ((V, len(images), 10), torch.float32)
    framed = nn.functional.pad(images, (1, 1, 1, 1))
    mirrored = nn.functional.pad(images.flip(3), (1, 1, 1, 1))
    for view, (whole, y, x) in {
        0: (framed, 0, 0),
        4: (framed, 1, 1),
        5: (framed, 1, 2),
        9 + 6: (mirrored, 2, 0),
    }.items():
        expected = answers(teachers, whole[:, :, y : y + 28, x : x + 28])
        torch.testing.assert_close(table[view].double(), expected, rtol=1e-4, atol=1e-5)
    chosen = torch.tensor([5, 0, 34])
    views = torch.tensor([15, 4, 0])
    targets = SoftTargets(DISTILLED, teachers, images)
    assert torch.equal(targets.at(views, chosen), table[views, chosen])


def test_the_table_is_computed_once_and_repeats_to_the_bit(
    real: Split, trained: nn.Sequential
) -> None:
    first, again = (SoftTargets(DISTILLED, [trained], real.images[:20]) for _ in range(2))
    assert first.table() is first.table()
    assert torch.equal(first.table(), again.table())


def test_a_teacher_in_train_mode_answers_in_eval_mode(real: Split, trained: nn.Sequential) -> None:
    expected = SoftTargets(DISTILLED, [trained], real.images[:20]).table()
    trained.train()
    assert torch.equal(SoftTargets(DISTILLED, [trained], real.images[:20]).table(), expected)


def test_a_teacher_without_a_doubt_gives_a_finite_loss(real: Split, trained: nn.Sequential) -> None:
    with torch.no_grad():
        trained[-1].weight.mul_(1e4)
    log_p = SoftTargets(DISTILLED, [trained, trained], real.images[:50]).table()[4]  # (N, K)
    assert log_p.exp().min() == 0
    assert distillation_loss(torch.zeros(50, 10), log_p, T).isfinite()


@given(
    temperature=st.floats(0.5, 20),
    size=st.tuples(st.integers(1, 9), st.integers(2, 12)),
    seed=st.integers(0, 2**31),
)
def test_loss_and_gradient_are_the_divergences_times_the_square_of_the_temperature(
    temperature: float, size: tuple[int, int], seed: int
) -> None:
    """With q = softmax(z / T) the gradient of T^2 KL(p, q) by z is T (q - p), over N images."""
    generator = torch.Generator().manual_seed(seed)
    z, teacher = 5 * torch.randn(2, *size, generator=generator, dtype=torch.float64)  # (N, K)
    p = (teacher / temperature).softmax(1)
    q = (z / temperature).softmax(1)
    logits = z.clone().requires_grad_()
    loss = distillation_loss(logits, p.log(), temperature)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = temperature**2 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-9, atol=1e-9)
    gradient = temperature * (q - p) / len(z)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-9, atol=1e-12)
