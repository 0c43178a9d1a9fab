"""The average follows weights and statistics by its formula."""

import torch

from training.networks.lenet import lenet_bn
from training.optimization.moving_average import MovingAverage


def test_all_tensors_follow_by_the_formula() -> None:
    model = lenet_bn()
    average = MovingAverage(model, decay=0.5)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    for update in range(1, 12):
        model(torch.rand(8, 1, 28, 28))  # moves the statistics, to new tensors
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(model)
        decay = min(0.5, (1 + update) / (10 + update))
        for key, value in model.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value
    for key, value in average.model.state_dict().items():
        torch.testing.assert_close(value, expected[key])


def test_the_trained_network_is_left_alone() -> None:
    model = lenet_bn()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    average = MovingAverage(model, decay=0.9)
    average.update(model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert model.training
    assert not average.model.training
