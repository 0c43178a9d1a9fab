"""Put small mistakes into the modules that decide, and see which the tests notice: `make mutants`.

    python -m tests.mutants [--again] [--every 5] [--out runs/mutants] [--children 2] [MODULE ...]

mutmut makes one change at a time (a bound, an operator, an argument, a constant) in a copy of the
tree, and runs the module's own fast tests from `modules.toml` on it. Tests that start a server
cannot count: mutmut sees only which functions its own process runs. `equivalents.toml` has the
changes that make no difference anybody could test, each with its reason. They are known by their
function and the changed lines, so that they outlive edits elsewhere.

Prints a table by module, and on stderr every change that no test noticed. Exits with status 1 where
a module has fewer than 90 % noticed or judged equivalent, or where an equivalent fits no change.
"""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LEAST_PERCENT = 90
# mutmut counts a mistake that makes tests hang or crash as noticed, as a test run would show it.
NOTICED = ("killed", "timeout", "segfault", "suspicious")
UNNOTICED = ("survived", "no tests")


@dataclass(frozen=True)
class Change:
    """What a mutant changes: the function, and its lines before and after."""

    function: str
    lines: str  # "- line before\n+ line after", without indentation


@dataclass(frozen=True)
class Result:
    """What came of a module's mutants."""

    module: str
    mutants: int
    noticed: int
    equivalent: int
    unnoticed: tuple[Change, ...]
    unused: tuple[Change, ...]  # accepted equivalents that are no unnoticed mutant

    @property
    def percent(self) -> float:
        """The share of mutants that are noticed or judged equivalent."""
        return 100 * (self.noticed + self.equivalent) / self.mutants if self.mutants else 100.0


def modules_that_decide() -> dict[str, list[str]]:
    """The modules that decide, and each one's tests."""
    modules: dict[str, list[str]] = tomllib.loads((HERE / "modules.toml").read_text())["modules"]
    return modules


def accepted(module: str) -> frozenset[Change]:
    """The changes to the module that were judged equivalent."""
    text = (HERE / "equivalents.toml").read_text()
    found = tomllib.loads(text)["equivalent"]
    return frozenset(
        Change(one["function"], lines.strip())
        for one in found
        if one["module"] == module
        for lines in one["changes"]
    )


def copy_tree(folder: Path, keep: bool) -> None:
    """Copy all files that git knows or would add; keep what else the folder has, or remove it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def configure(folder: Path, module: str, tests: Sequence[str]) -> None:
    """Write mutmut's settings: the module to change, the tests to run, and what lies beside."""
    rooms = ["training", "export", "service"]
    own = (*rooms, "tests", "mutants", "setup.cfg", ".gitignore")  # mutmut's, or copied by it
    others = sorted(path.name for path in folder.iterdir() if path.name not in own)
    config = configparser.ConfigParser()
    config["mutmut"] = {
        "source_paths": _lines(rooms),
        "only_mutate": _lines([module]),
        "also_copy": _lines(others),
        "pytest_add_cli_args_test_selection": _lines(tests),
        "pytest_add_cli_args": _lines(["-p", "no:cacheprovider"]),
        "use_git_change_detection": "false",
        "timeout_multiplier": "5",  # of the tests' own time; some mistakes make them wait endlessly
    }
    with (folder / "setup.cfg").open("w") as file:
        config.write(file)


def _lines(values: Iterable[str]) -> str:
    return "\n" + "\n".join(values)


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut and return what it prints.

    Raises:
        SystemExit: it failed; without any mutant the tests must pass.
    """
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # several processes with threads wait a lot
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = re.sub(r"\n(?:. [A-Z][a-z ]+\n)+", "\n", done.stdout)  # without its spinner
        raise SystemExit(f"{said}\nmutmut {' '.join(arguments)} failed in {folder}")
    return done.stdout


def change(folder: Path, mutant: str) -> Change:
    """What the mutant changes, from mutmut's diff."""
    name = mutant.rpartition("__mutmut_")[0].rpartition(".")[2]  # x_function, or xǁClassǁmethod
    function = name.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in name else name[2:]
    diff = mutmut(folder, "show", mutant).splitlines()
    changed = [line for line in diff if re.match(r"[-+](?!--|\+\+)", line)]
    return Change(function, "\n".join(f"{line[0]} {line[1:].strip()}" for line in changed))


def statuses(folder: Path) -> list[tuple[str, str]]:
    """The name of each mutant, and what came of it."""
    return re.findall(r"^ +(\S+): (.+)$", mutmut(folder, "results", "--all", "true"), re.M)


def measure(
    module: str,
    tests: Sequence[str],
    out: Path,
    *,
    children: int,
    every: int = 1,
    again: bool = False,
) -> Result:
    """Run a module's mutants, or every so many of each function.

    With again, run those that went unnoticed the last time.
    """
    folder = out / module.removesuffix(".py").replace("/", ".")
    left = [mutant for mutant, status in statuses(folder) if status in UNNOTICED] if again else []
    copy_tree(folder, keep=again)
    configure(folder, module, tests)
    digits = "".join(str(digit) for digit in range(10) if digit % every == 1 % every)
    if left or not again:
        sample = left or [f"*__mutmut_*[{digits}]"]  # mutmut numbers those of a function from 1
        mutmut(folder, "run", "--max-children", str(children), *sample)
    found = [(mutant, status) for mutant, status in statuses(folder) if mutant[-1] in digits]
    if unknown := {status for _, status in found} - {*NOTICED, *UNNOTICED}:
        raise SystemExit(f"expected each mutant of {module} to be tried, got {unknown}")
    unnoticed = [change(folder, mutant) for mutant, status in found if status in UNNOTICED]
    known = accepted(module)
    to_mend = tuple(one for one in unnoticed if one not in known)
    return Result(
        module,
        mutants=len(found),
        noticed=len(found) - len(unnoticed),
        equivalent=len(unnoticed) - len(to_mend),
        unnoticed=to_mend,
        unused=tuple(known - set(unnoticed)) if every == 1 else (),
    )


def row(result: Result) -> str:
    """A module's row of the table in docs/reliability.md."""
    cells = (
        f"`{result.module}`",
        *(f"{count:,}" for count in (result.mutants, result.noticed, result.equivalent)),
        f"{len(result.unnoticed):,}",
        f"{result.percent:.1f} %",
    )
    return f"| {' | '.join(cells)} |"


def remarks(result: Result) -> str:
    """Every change to look at, under what is to be done about it."""
    parts = {
        "No test noticed": result.unnoticed,
        "In equivalents.toml, but no mutant that went unnoticed": result.unused,
    }
    return "\n".join(
        f"{title}: {result.module}, {one.function}\n{one.lines}\n"
        for title, changes in parts.items()
        for one in changes
    )


def main(arguments: Sequence[str]) -> int:
    """Run the mutants of the modules and print what went unnoticed."""
    known = modules_that_decide()
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a key of modules.toml")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"), help="for the copies")
    parser.add_argument("--children", type=int, default=2, help="how many mutants at a time")
    parser.add_argument(
        "--every",
        type=int,
        choices=(1, 2, 5, 10),
        default=1,
        help="only the first, the sixth and so on of each function's mutants, with 5",
    )
    parser.add_argument(
        "--again", action="store_true", help="only what went unnoticed the last time"
    )
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.modules) - set(known):
        parser.error(f"expected modules of {HERE / 'modules.toml'}, got {', '.join(unknown)}")
    print("| module | mutants | noticed | equivalent | not noticed | noticed or equivalent |")
    print("|---|---|---|---|---|---|", flush=True)
    results = []
    for module in chosen.modules or list(known):
        results.append(
            measure(
                module,
                known[module],
                chosen.out.resolve(),
                children=chosen.children,
                every=chosen.every,
                again=chosen.again,
            )
        )
        print(row(results[-1]), flush=True)
        print(remarks(results[-1]), file=sys.stderr, flush=True)
    bad = any(result.percent < LEAST_PERCENT or result.unused for result in results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
