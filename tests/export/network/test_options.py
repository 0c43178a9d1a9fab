"""The options that name a network and its images, and what they read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from export.errors import NetworkError
from export.network.options import NetworkOptions
from export.network.reading import class_names, read_data, read_network
from tests.export.network import factories

HERE = "tests.export.network.factories"
NEEDED = {"network": f"{HERE}:small", "image": "3x8x8", "data": Path("d.npz")}


def test_a_network_its_data_and_its_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=np.zeros((5, 3, 8, 8), np.uint8))
    torch.save(factories.small(4).state_dict(), tmp_path / "w.pt")
    options = NetworkOptions(
        network=f"{HERE}:small",
        arguments='{"classes": 4}',
        image="3x8x8",
        data=tmp_path / "d.npz",
        mean="0.5",
        std="0.2,0.3,0.4",
        images=3,
    )
    net = read_network(options, tmp_path / "w.pt")
    assert (net.num_classes, net.input_format.std) == (4, (0.2, 0.3, 0.4))
    images = read_data(options, net)
    assert len(images) == 3
    assert class_names(options, net, images) == ("0", "1", "2", "3")
    names = tmp_path / "labels.txt"
    named = options.model_copy(update={"labels": names})
    names.write_text("a\nb\nc\nd\n")
    assert class_names(named, net, images) == ("a", "b", "c", "d")
    names.write_text("a\nb\n")
    with pytest.raises(NetworkError, match="names 2 classes, but the network has 4: expected one"):
        class_names(named, net, images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": "{"}, "expected a JSON object: "),
        ({"arguments": "[1]"}, "expected a JSON object, such as"),
        ({"image": "3x8"}, "expected CxHxW, such as 3x224x224"),
        ({"image": "3x8xY"}, "expected CxHxW, such as 3x224x224"),
        ({"mean": "0.5;0.4"}, "expected a number, or one a channel"),
        ({"images": 0}, "greater than or equal to 1"),
        ({"image": None}, f"--network {HERE}:small needs --image as well"),
        ({"data": None}, f"--network {HERE}:small needs --data as well"),
        ({"network": None}, "--image is of a network: name it with --network"),
    ],
)
def test_options_that_are_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NetworkOptions(**(NEEDED | changes))
