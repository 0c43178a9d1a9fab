"""The network is the one that checkpoints, export and service agree on."""

import torch

from training.networks.lenet import lenet_bn

CONTRACT = {
    "0.weight": (6, 1, 5, 5),
    "0.bias": (6,),
    "1.gamma": (1, 6, 1, 1),
    "1.beta": (1, 6, 1, 1),
    "1.moving_mean": (1, 6, 1, 1),
    "1.moving_var": (1, 6, 1, 1),
    "4.weight": (16, 6, 5, 5),
    "4.bias": (16,),
    "5.gamma": (1, 16, 1, 1),
    "5.beta": (1, 16, 1, 1),
    "5.moving_mean": (1, 16, 1, 1),
    "5.moving_var": (1, 16, 1, 1),
    "9.weight": (120, 256),
    "9.bias": (120,),
    "10.gamma": (1, 120),
    "10.beta": (1, 120),
    "10.moving_mean": (1, 120),
    "10.moving_var": (1, 120),
    "12.weight": (84, 120),
    "12.bias": (84,),
    "13.gamma": (1, 84),
    "13.beta": (1, 84),
    "13.moving_mean": (1, 84),
    "13.moving_var": (1, 84),
    "15.weight": (10, 84),
    "15.bias": (10,),
}


def test_state_dict_is_the_contract() -> None:
    assert {k: tuple(v.shape) for k, v in lenet_bn().state_dict().items()} == CONTRACT


def test_layers_are_the_notebooks_in_order() -> None:
    assert [type(layer).__name__ for layer in lenet_bn()] == [
        *("Conv2d", "BatchNorm", "Sigmoid", "AvgPool2d"),
        *("Conv2d", "BatchNorm", "Sigmoid", "AvgPool2d", "Flatten"),
        *("Linear", "BatchNorm", "Sigmoid"),
        *("Linear", "BatchNorm", "Sigmoid"),
        "Linear",
    ]


def test_parameters_are_counted_as_documented() -> None:
    model = lenet_bn()
    batch_norms = sum(p.numel() for k, p in model.named_parameters() if "gamma" in k or "beta" in k)
    assert sum(p.numel() for p in model.parameters()) - batch_norms == 44_426
    assert batch_norms == sum(b.numel() for b in model.buffers()) == 452


def test_the_last_layer_follows_the_classes() -> None:
    assert lenet_bn(47)(torch.rand(3, 1, 28, 28)).shape == (3, 47)


def test_one_image_is_classified_alone_as_in_a_batch() -> None:
    model = lenet_bn()
    model(torch.rand(64, 1, 28, 28))
    images = torch.rand(5, 1, 28, 28)
    model.eval()
    together = model(images)
    for i in range(5):
        torch.testing.assert_close(model(images[i : i + 1])[0], together[i], rtol=1e-5, atol=1e-5)
