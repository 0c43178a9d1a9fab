"""A file of ours must match to the bit, others' files need not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export import faults, verify_network
from export.folding.fold import fold
from export.folding.normalization import Normalization
from export.network.loading import network
from export.onnx_file.emission import EmittedModel, emit
from export.verification.refolding import refold, rounding_differences
from export.verification.verification import Verification
from tests.export.verification.networks import FORMAT, MEAN, NETWORKS, SHAPE, STD, pictures, trained

IMAGES = pictures(20)


def emitted(name: str) -> EmittedModel:
    return emit(fold(trained(name), torch.zeros(2, *SHAPE), Normalization(MEAN, STD)))


def verify(name: str, proto: onnx.ModelProto, folder: Path) -> Verification:
    onnx.save(proto, folder / "m.onnx")
    return verify_network(trained(name), folder / "m.onnx", IMAGES, mean=MEAN, std=STD)


def nudge(proto: onnx.ModelProto, dimensions: int) -> str:
    """Change one number of a tensor in its last bit."""
    tensor = next(t for t in proto.graph.initializer if len(t.dims) == dimensions)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[1] = np.nextafter(values.flat[1], np.float32(np.inf))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return tensor.name


@pytest.mark.parametrize("name", NETWORKS)
def test_our_own_file_is_the_network_to_a_thousand_millionth(name: str, tmp_path: Path) -> None:
    found = verify(name, emitted(name).model, tmp_path)
    assert faults(found) == []
    assert found.graph is not None
    assert found.graph.rounding == 0
    assert found.graph.limit == 1e-9
    assert found.graph.error < 1e-12


def test_the_last_bit_of_one_weight_is_told(tmp_path: Path) -> None:
    proto = emitted("residual").model
    name = nudge(proto, 4)
    (fault,) = faults(verify("residual", proto, tmp_path))
    assert fault.startswith(f"A: its tensor {name} is not the checkpoint's, folded again: 1 of ")


def test_a_file_of_others_is_not_folded_again(files: dict[str, Path]) -> None:
    net = network(trained("residual"), FORMAT)
    assert refold(net, onnx.load(files["residual"])) == (None, ())


def test_a_file_that_says_that_it_is_ours_of_a_network_that_we_refuse(tmp_path: Path) -> None:
    class Sorted(torch.nn.Module):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return X.flatten(1).sort(dim=1).values[:, :6]

    model = Sorted().eval()
    weights, (fault,) = refold(network(model, FORMAT), emitted("residual").model)
    assert weights is None
    assert fault.startswith("its producer is fashion-lenet-bn, which refuses this network: ")


def test_every_number_is_the_folded_one_rounded_once() -> None:
    found = emitted("spread")
    assert list(rounding_differences(found.model, found.exact_weights)) == []
    name = nudge(found.model, 4)
    (fault,) = rounding_differences(found.model, found.exact_weights)
    assert f" numbers of its tensor {name} are not the folded ones, rounded once" in fault
