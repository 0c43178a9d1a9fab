"""Every parameter is updated, by the intended optimiser."""

from dataclasses import replace

import pytest
from torch.optim import SGD, AdamW

from training.networks.lenet import lenet_bn
from training.optimization.muon import Muon
from training.optimization.optimizers import build_optimizers, set_learning_rate
from training.recipes import SEED

MUON = replace(SEED, optimizer="muon")


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_each_parameter_has_exactly_one_optimizer(name: str) -> None:
    model = lenet_bn()
    optimizers = build_optimizers(replace(SEED, optimizer=name), model)
    moved = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(map(id, moved)) == sorted(map(id, model.parameters()))


def test_muon_gets_the_hidden_weights_alone() -> None:
    model = lenet_bn()
    _, muon = build_optimizers(MUON, model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    got = {names[id(p)] for p in muon.param_groups[0]["params"]}
    assert got == {"0.weight", "4.weight", "9.weight", "12.weight"}


@pytest.mark.parametrize(
    ("name", "kinds"), [("sgd", [SGD]), ("adamw", [AdamW]), ("muon", [AdamW, Muon])]
)
def test_the_recipe_decides_optimizer_rate_and_decay(name: str, kinds: list[type]) -> None:
    recipe = replace(SEED, optimizer=name, learning_rate=0.03, weight_decay=0.07)
    optimizers = build_optimizers(recipe, lenet_bn())
    assert [type(optimizer) for optimizer in optimizers] == kinds
    for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
        assert (group["lr"], group["weight_decay"]) == (0.03, 0.07)


def test_torchs_optimizers_run_as_one_kernel_and_muon_has_its_authors_momentum() -> None:
    sgd, adamw, (_, muon) = (
        build_optimizers(replace(SEED, optimizer=name), lenet_bn())
        for name in ("sgd", "adamw", "muon")
    )
    assert [optimizer.param_groups[0]["fused"] for optimizer in (*sgd, *adamw)] == [True, True]
    assert muon.param_groups[0]["momentum"] == 0.95


def test_one_rate_is_set_for_all() -> None:
    optimizers = build_optimizers(MUON, lenet_bn())
    set_learning_rate(optimizers, 0.25)
    assert [o.param_groups[0]["lr"] for o in optimizers] == [0.25, 0.25]
