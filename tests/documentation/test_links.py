"""Links between the pages of the documentation, and their tables of contents."""

import re
from pathlib import Path

import pytest

from tests.serving import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "notebooks" / "batch_norm.ipynb",
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> list[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = HEADING.findall(BLOCK.sub("", page.read_text()))
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_table_of_contents_of_operations_has_each_section_in_order() -> None:
    page = ROOT / "docs" / "operations.md"
    contents = page.read_text().partition("\n## ")[0]
    sections = [match[1] for match in re.finditer(r"^## (.+)$", page.read_text(), re.MULTILINE)]
    assert re.findall(r"\[([^]]+)\]\(#", contents) == sections


def test_the_files_that_architecture_names_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"`((?:training|export|service)/[\w/.]*)`", page)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []
