"""The study evaluates the same weights in three ways, and draws the results."""

from pathlib import Path

import torch

from training.data.choice import load_data
from training.data.dataset import Split
from training.data.pixels import to_float
from training.networks.lenet import lenet_bn
from training.studies.moving_statistics import accuracy_by_batch, study, study_figure


def test_each_epoch_is_judged_three_ways(small: Path) -> None:
    data = load_data(small, small / "labels.txt", validation=False)
    found = study(data, seed=0, epochs=2, compile_step=False)
    assert set(found) == {"moving", "re-estimated", "batch"}
    assert {len(values) for values in found.values()} == {2}
    # At rate 1.0 the moving statistics lag: the whole point of the study.
    assert found["re-estimated"][-1] > found["moving"][-1] + 0.1
    axis = study_figure([found, found]).axes[0]
    drawn = [list(line.get_ydata()) for line in axis.get_lines() if len(line.get_ydata())]
    assert drawn == [list(values) for values in found.values()] * 2


def test_batches_are_judged_by_their_own_statistics(real: Split) -> None:
    split = Split(real.images[:300], real.labels[:300], real.digests)
    model = lenet_bn().eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = accuracy_by_batch(model, split, batch_size=100)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    model.train()
    parts = torch.split(split.images, 100)
    predicted = torch.cat([model(to_float(part)).argmax(1) for part in parts])
    assert found == float((predicted == split.labels).double().mean())
