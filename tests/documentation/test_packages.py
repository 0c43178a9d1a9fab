"""The packages: the number of modules, and imports without cycles, also within functions."""

import ast
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.serving import ROOT

ROOMS = ("training", "export", "service")
MOST_MODULES = 14

FOLDERS = [
    folder
    for room in (*ROOMS, "benchmarks")
    for folder in (ROOT / room, *sorted((ROOT / room).rglob("*/")))
    if list(folder.glob("*.py"))
]


def modules(room: str) -> dict[str, Path]:
    """The room's modules by their names; a package has its own."""
    paths = sorted((ROOT / room).rglob("*.py"))
    parts = {path: path.relative_to(ROOT).with_suffix("").parts for path in paths}
    return {".".join(part for part in parts[path] if part != "__init__"): path for path in paths}


KNOWN = {room: modules(room) for room in ROOMS}
NAMES = frozenset(name for known in KNOWN.values() for name in known)


def imported(text: str) -> Iterator[str]:
    """Our modules that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=aliases):
                yield from {alias.name for alias in aliases} & NAMES
            case ast.ImportFrom(module=str(package), names=aliases, level=0):
                for alias in aliases:
                    inner = f"{package}.{alias.name}"
                    yield from {inner if inner in NAMES else package} & NAMES
            case ast.ImportFrom(module=module):
                raise AssertionError(f"a relative import, of {module}")


IMPORTS = {
    name: frozenset(imported(path.read_text(encoding="utf-8")))
    for known in KNOWN.values()
    for name, path in known.items()
}


def cycle(graph: Mapping[str, Set[str]]) -> list[str]:
    """A cycle of a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def part(name: str) -> str:
    """The part of a room that a module belongs to: a package, or the module itself."""
    return ".".join(name.split(".")[:2])


def parts(room: str) -> dict[str, set[str]]:
    """Which parts of a room import from which others of it."""
    graph: dict[str, set[str]] = {}
    for name in KNOWN[room].keys() - {room}:
        own = {part(other) for other in IMPORTS[name] if other.startswith(f"{room}.")}
        graph.setdefault(part(name), set()).update(own - {part(name)})
    return graph


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_package_has_few_modules_and_says_what_it_is_for(folder: Path) -> None:
    names = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(names) <= MOST_MODULES
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert text


@pytest.mark.parametrize("room", ROOMS)
def test_imports_have_no_cycle(room: str) -> None:
    assert cycle({name: IMPORTS[name] for name in KNOWN[room]}) == []
    assert cycle(parts(room)) == []


def test_a_cycle_is_found_within_functions_and_for_types_alone() -> None:
    """The checks above find what they are for."""
    text = "def f():\n    from training import run\nif TYPE_CHECKING:\n    import export.proof.file"
    assert set(imported(text)) == {"training.run", "export.proof.file"}
    assert set(imported("from training.data.idx import read_idx")) == {"training.data.idx"}
    assert len(cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == 4
