"""The direction of imports: each part of the package knows only what stands below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from scg.distributions.distribution import FAMILIES
from tests.laws.checks import shipped

ROOT = Path(__file__).parents[2]
BACKENDS = sorted(p.name for p in (ROOT / "backends").iterdir() if (p / "__init__.py").exists())


class Import(NamedTuple):
    """Who imports what, and whether that happens when the module is loaded."""

    by: str
    module: str
    lazy: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.by} imports {self.module}"


def modules(folder: Path) -> dict[str, Path]:
    """Every module below a folder by its dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules(ROOT / "scg") | {n: p for b in BACKENDS for n, p in modules(ROOT / "backends" / b).items()}


def imports_of(name: str, path: Path) -> list[Import]:
    """All imports of a module, those inside functions and for type checkers only included."""
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool, typing: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(name, a.name, lazy, typing) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name} imports relatively"
                for a in child.names:
                    inner = f"{child.module}.{a.name}"
                    found.append(Import(name, inner if inner in MODULES else str(child.module), lazy, typing))
            else:
                checking = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                function = isinstance(child, (ast.FunctionDef, ast.Lambda))
                visit(child, lazy or function, typing or checking)

    visit(ast.parse(path.read_text()), False, False)
    return found


IMPORTS = [i for name, path in MODULES.items() for i in imports_of(name, path)]


def part(module: str) -> str:
    """The part of the package that a module belongs to: its folder, or itself."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "scg" and len(pieces) > 1 else pieces[0]


# What each part may import when it is loaded. What is not listed here is above them all.
BELOW = {
    "errors": set(),
    "ir": {"errors"},
    "ops": {"errors", "ir"},
    "functions": {"ir", "ops"},
    "rules": {"errors", "ir", "ops", "analysis"},
    "noise": set(),
    "distributions": {"errors", "ir", "ops"},
    "draft": {"errors", "ir"},
    "analysis": {"errors", "ir", "ops", "distributions", "draft", "site", "scan_site"},
    "replacement": {"ir", "ops", "distributions"},
    "redrawn": {"ir", "ops"},
    "site": {"errors", "ir", "ops", "distributions", "draft", "redrawn", "replacement", "analysis"},
    "scan_site": {"errors", "ir", "ops", "distributions", "draft", "redrawn", "replacement", "analysis", "site"},
    "together": {"errors", "ir", "distributions", "draft", "analysis", "site"},
    "whole": {"errors", "ir", "ops", "distributions", "draft", "analysis"},
    "baselines": {"errors", "ir", "ops", "functions", "draft", "site", "analysis"},
    "initial": {"errors", "ir", "noise"},
    "estimators": {"errors", "ir", "ops", "functions", "draft", "site", "together", "whole", "analysis",
                   "baselines", "distributions"},
    "strategy": {"errors", "ir", "ops", "analysis", "baselines", "estimators"},
    "trees": {"errors", "ir"},
    "dsl": {"errors", "ir", "ops", "noise", "initial", "distributions", "analysis", "estimators", "trees"},
    "program": {"errors", "ir", "noise"},
    "statistics": {"program"},
    "threads": {"program"},
    "source": {"errors"},
    "backend": {"errors", "ir"},
    "values": {"errors", "ir"},
}


@pytest.mark.parametrize("name", BELOW)
def test_direction(name):
    own = [i for i in IMPORTS if part(i.by) == name and i.by.startswith("scg") and not i.lazy and not i.typing]
    assert own or name in ("errors", "noise", "source"), f"there is no part named {name}"
    above = [str(i) for i in own if i.module.startswith("scg") and part(i.module) not in BELOW[name] | {name}]
    assert not above


def test_loading_has_no_cycles():
    after = {n: {i.module for i in IMPORTS if i.by == n and i.module in MODULES and not i.lazy and not i.typing}
             for n in MODULES if n != "scg"}
    done: set[str] = set()
    while len(done) < len(after):
        ready = {n for n, needs in after.items() if n not in done and needs - {"scg", n} <= done}
        assert ready, f"a cycle among {sorted(set(after) - done)}"
        done |= ready


def test_names_only_point_down_even_late():
    """What stands below reaches up inside functions only where it is known and said."""
    late = {(i.by, i.module) for i in IMPORTS if i.lazy and not i.typing and part(i.by) in BELOW
            and i.module.startswith("scg") and part(i.module) not in BELOW[part(i.by)] | {part(i.by)}}
    assert late <= {("scg.ops.structure", "scg.analysis.integers"), ("scg.ops.indices", "scg.analysis.integers"),
                    ("scg.distributions.distribution", "scg.analysis.support"), ("scg.dsl", "scg.derivation"),
                    ("scg.dsl", "scg.export.networks")}  # fmt: skip


def test_nothing_imports_the_surface():
    for i in IMPORTS:
        allowed = i.by == "scg" or (i.by, i.module) == ("scg.estimate", "scg.compile")
        assert allowed or i.module not in ("scg.dsl", "scg.compile", "scg.verify"), str(i)


def test_one_pass_does_not_import_another():
    wrong = [str(i) for i in IMPORTS if part(i.by) == "passes" and part(i.module) == "passes" and i.by != i.module]
    assert not wrong


def test_families_and_estimators_do_not_know_each_other():
    families = {cls.__module__ for cls in shipped(FAMILIES).values()}
    for i in IMPORTS:
        if part(i.by) == "distributions":
            assert part(i.module) not in ("estimators", "baselines", "strategy", "passes"), str(i)
        if part(i.by) in ("estimators", "baselines", "passes", "site", "scan_site", "analysis", "strategy"):
            assert i.module not in families, str(i)
        if part(i.by) == "distributions" and i.by not in families:
            assert i.by == "scg.distributions" or i.module not in families, str(i)  # a family may be made of another


def test_backends_know_nothing_of_what_is_exported():
    wrong = [str(i) for i in IMPORTS if i.by.split(".")[0] in BACKENDS and part(i.module) == "export"]
    assert not wrong


def test_backends_are_loaded_by_name_only():
    for i in IMPORTS:
        own = i.by.split(".")[0]
        other = i.module.split(".")[0]
        assert other not in BACKENDS or own == other, str(i)


@pytest.mark.parametrize("library, allowed", [
    ("numba", ()), ("llvmlite", ()), ("sympy", ("export",)), ("networkx", ("export",)), ("matplotlib", ("export",)),
    ("scipy", ("ops", "distributions", "export")), ("threadpoolctl", ()), ("platformdirs", ()),
])  # fmt: skip
def test_libraries_stay_where_they_belong(library, allowed):
    wrong = [str(i) for i in IMPORTS if i.module.split(".")[0] == library and i.by.split(".")[0] == "scg"
             and part(i.by) not in allowed]
    assert not wrong


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, scg; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    heavy = ["numba", "llvmlite", "sympy", "networkx", "matplotlib", *BACKENDS]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
