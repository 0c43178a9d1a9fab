"""Loss and accuracy are those of the whole split, and the mode is restored."""

import pytest
import torch
from torch.nn import functional

from training.data.dataset import Split
from training.data.pixels import to_float
from training.evaluation import evaluate, predict
from training.networks.lenet import lenet_bn


@pytest.mark.parametrize("training", [True, False])
def test_the_whole_split_is_judged_in_eval_mode(real: Split, training: bool) -> None:
    split = Split(real.images[:2300], real.labels[:2300], real.digests)
    model = lenet_bn().train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = evaluate(model, split)
    assert model.training is training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    model.eval()
    logits = model(to_float(split.images))
    expected = functional.cross_entropy(logits, split.labels)
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert found.accuracy == pytest.approx(float((logits.argmax(1) == split.labels).float().mean()))


def test_the_mode_is_put_back_after_an_error() -> None:
    model = lenet_bn().train()
    with pytest.raises(RuntimeError):
        predict(model, torch.zeros(2, 3, 28, 28, dtype=torch.uint8))
    assert model.training
