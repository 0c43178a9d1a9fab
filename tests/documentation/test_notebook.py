"""notebooks/batch_norm.ipynb: what its cells and its answers assert holds, in a real kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.pages import blocks
from tests.serving import ROOT

PATH = ROOT / "notebooks" / "batch_norm.ipynb"
LAST_RESORT_SECONDS = 1200


@pytest.fixture(scope="module")
def cells() -> list[nbformat.NotebookNode]:
    return list(nbformat.read(PATH, as_version=4).cells)


def run(cells: list[nbformat.NotebookNode], folder: Path) -> list[nbformat.NotebookNode]:
    """Run cells in a kernel that starts in a folder, and return their outputs."""
    notebook = new_notebook(cells=cells)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=LAST_RESORT_SECONDS, resources=resources).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_it_is_stored_without_results(cells: list[nbformat.NotebookNode]) -> None:
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def test_all_cells_and_answers_run_and_draw(cells: list[nbformat.NotebookNode]) -> None:
    with_answers = []
    for cell in cells:
        answer = blocks(cell.source, "python") if cell.cell_type == "markdown" else []
        with_answers += [cell, *map(new_code_cell, answer)]
    assert len(with_answers) > len(cells)
    outputs = run(with_answers, PATH.parent)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


def test_it_can_also_be_started_in_the_folder_of_the_project(
    cells: list[nbformat.NotebookNode],
) -> None:
    setup = next(cell for cell in cells if cell.cell_type == "code")
    (output,) = run([setup, new_code_cell("import training\nprint(training.__file__)")], ROOT)
    assert output.text.strip() == str(ROOT / "training" / "__init__.py")
