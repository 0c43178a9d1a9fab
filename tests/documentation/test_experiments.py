"""docs/experiments.md: its table is the mean of the seeds in `batch_size.json`."""

import json
import re
from statistics import mean

from tests.serving import ROOT

PAGE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
RESULTS = list(json.loads((ROOT / "docs" / "images" / "batch_size.json").read_text()).values())


def row(title: str) -> list[str]:
    """The figures of a row of the table."""
    (cells,) = re.findall(rf"^\| {title} \| (.*) \|$", PAGE, re.MULTILINE)
    return list(cells.split(" | "))


def means(rows: list[list[float]]) -> list[str]:
    return [f"{mean(column):.3f}" for column in zip(*rows, strict=True)]


def test_the_table_has_the_mean_of_three_seeds() -> None:
    assert len(RESULTS) == 3
    for title in re.findall(r"^\| ((?:mean|variance), after [\w ]+) \|", PAGE, re.MULTILINE):
        statistic, layer = title.split(", after ")
        noise = [result["noise"][layer][statistic] for result in RESULTS]
        assert row(title) == means(noise), title
    assert row("test accuracy") == means([result["batch_accuracy"] for result in RESULTS])
    population = mean(result["population_accuracy"] for result in RESULTS)
    assert f"the accuracy on these images is {population:.3f}." in PAGE
