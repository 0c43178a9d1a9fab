"""Single weights that do not follow from the network's."""

import numpy as np
import onnx
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import nn

from export.verification.weights import weight_differences


def graph(**tensors: np.ndarray) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    return helper.make_model(helper.make_graph([], "g", [], [], initializers))


def layer(shape: tuple[int, ...], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(shape))
    return module


def folded(module: nn.Module, seed: int) -> np.ndarray:
    """The weight, times a number for each output and input channel, in float32."""
    random = np.random.default_rng(seed)
    weight = module.weight.detach().numpy()
    rows = np.float32(random.uniform(-2, 2, (len(weight), *(1,) * (weight.ndim - 1))))
    columns = np.float32(random.uniform(0.1, 2, (1, weight.shape[1], *(1,) * (weight.ndim - 2))))
    return weight * rows * columns


SHAPES = st.sampled_from([(8, 6, 3, 3), (16, 1, 3, 3), (5, 7), (12, 4, 1, 1), (8, 3, 5)])


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_what_is_folded_follows(shape: tuple[int, ...], seed: int) -> None:
    module = layer(shape, seed)
    assert weight_differences(graph(w=folded(module, seed)), module) == []


@given(st.sampled_from([(8, 6, 3, 3), (16, 1, 3, 3), (9, 7)]), st.integers(0, 2**32 - 1))
def test_one_weight_by_a_ten_thousandth_is_told(shape: tuple[int, ...], seed: int) -> None:
    module = layer(shape, seed)
    wrong = folded(module, seed)
    place = seed % wrong.size
    wrong.flat[place] *= 1.0001
    index = ", ".join(str(int(i)) for i in np.unravel_index(place, shape))
    (fault,) = weight_differences(graph(w=wrong), module)
    assert fault == (
        f"A: 1 of {wrong.size:,} numbers of its tensor w do not follow from weight, [{index}] is "
        "off by a factor of 1.0001"
    )


def test_a_matrix_may_be_the_other_way_round() -> None:
    module = layer((6, 9), 0)
    turned = folded(module, 0).T.copy()
    assert weight_differences(graph(w=turned), module) == []
    turned[2, 3] *= 1.01
    (fault,) = weight_differences(graph(w=turned), module)
    assert "[2, 3] is off by a factor of 1.01" in fault


def test_a_zero_stays_one() -> None:
    module = layer((6, 5, 3, 3), 1)
    with torch.no_grad():
        module.weight[:, 2] = 0  # a channel that is pruned
    right = folded(module, 1)
    assert weight_differences(graph(w=right), module) == []
    right[3, 2, 1, 1] = 0.5
    (fault,) = weight_differences(graph(w=right), module)
    assert fault.endswith("[3, 2, 1, 1] is off by a factor of inf")


def test_tensors_that_are_the_networks_in_no_way_are_left_to_the_other_criteria() -> None:
    module = layer((8, 6, 3, 3), 2)
    other = np.random.default_rng(0).normal(size=(8, 6, 3, 3)).astype(np.float32)
    half = folded(module, 2).astype(np.float16).astype(np.float32)
    assert weight_differences(graph(a=other, b=half, c=np.ones(6, np.float32)), module) == []


def test_it_is_compared_with_the_weight_that_it_comes_from() -> None:
    module = nn.Sequential(layer((8, 6, 3, 3), 3), layer((8, 6, 3, 3), 4))
    for part in module:
        assert weight_differences(graph(w=folded(part, 5)), module) == []
