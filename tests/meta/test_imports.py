"""The direction of imports: each part of the package knows only what stands below it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
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
            if isinstance(child, ast.expr):  # no statement stands in one
                continue
            if isinstance(child, ast.Import):
                found.extend(Import(name, a.name, lazy, typing) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name} imports relatively"
                for a in child.names:
                    inner = f"{child.module}.{a.name}"
                    found.append(Import(name, inner if inner in MODULES else str(child.module), lazy, typing))
            else:
                checking = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                function = isinstance(child, ast.FunctionDef)
                visit(child, lazy or function, typing or checking)

    visit(ast.parse(path.read_text()), False, False)
    return found


@cache
def imports() -> list[Import]:
    """All imports of the package and of its backends."""
    return [i for name, path in MODULES.items() for i in imports_of(name, path)]


def part(module: str) -> str:
    """The part of the package that a module belongs to: its folder, or itself."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "scg" and len(pieces) > 1 else pieces[0]


# The parts, each above all that it knows: what stands further down the list may import what stands further up.
ORDER = (
    "errors", "markup", "source", "forking", "collecting", "progress", "ir", "verdict", "noise", "sums", "large",
    "program", "backend", "ops", "functions", "analysis", "distributions", "nn", "differentiate", "rules", "surrogate",
    "baselines", "estimators", "strategy", "initial", "elbo", "passes", "schedule", "simplification", "stopped",
    "narrow_margins",
    "derive", "second_order", "run", "chains", "hessian", "expectation", "export", "views", "foreign", "graph",
    "evaluations", "explain", "compiled", "nameless", "function", "kept", "compared", "comparison", "shortlist",
    "chain_rules", "automatic",
    "optim", "compile", "verification", "laws", "extend", "other_families", "names", "scg",
)  # fmt: skip


def test_every_part_has_its_place():
    assert sorted(ORDER) == sorted({part(name) for name in MODULES if name.split(".")[0] == "scg"})


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_down(name):
    """Also those inside functions, and those for type checkers."""
    above = ORDER[ORDER.index(name) + 1 :]
    wrong = [str(i) for i in imports() if part(i.by) == name and i.module.startswith("scg") and part(i.module) in above]
    assert not wrong


def test_there_are_no_circles():
    """Among modules, whenever and for whomever they import each other."""
    after = {n: {i.module for i in imports() if i.by == n and i.module in MODULES} - {n} for n in MODULES if n != "scg"}
    done: set[str] = set()
    while len(done) < len(after):
        ready = {n for n, needs in after.items() if n not in done and needs - {"scg"} <= done}
        assert ready, f"a circle among {sorted(set(after) - done)}"
        done |= ready


def test_nothing_imports_the_surface():
    for i in imports():
        # the laws try parts as their authors use them
        assert i.by == "scg" or part(i.by) == "laws" or i.module not in (
            "scg", "scg.graph", "scg.compile", "scg.verification"), str(i)


def test_one_pass_does_not_import_another():
    wrong = [str(i) for i in imports() if part(i.by) == "passes" and part(i.module) == "passes" and i.by != i.module]
    assert not wrong


def test_families_and_estimators_do_not_know_each_other():
    families = {cls.__module__ for cls in shipped(FAMILIES).values()}
    for i in imports():
        if part(i.by) == "distributions":
            assert part(i.module) not in ("estimators", "baselines", "strategy", "passes"), str(i)
        if part(i.by) in ("estimators", "baselines", "passes", "surrogate", "analysis", "strategy"):
            assert i.module not in families, str(i)
        if part(i.by) == "distributions" and i.by not in families:
            assert i.by == "scg.distributions" or i.module not in families, str(i)  # a family may be made of another


def test_backends_know_nothing_of_what_is_exported():
    wrong = [str(i) for i in imports() if i.by.split(".")[0] in BACKENDS and part(i.module) == "export"]
    assert not wrong


def test_what_writes_plans_down_knows_no_graph():
    """It knows the loop language, ops as such, and how a kernel is called."""
    known = {"scg.collecting", "scg.forking", "scg.ir.op", "scg.large", "scg.noise", "scg.program", "scg.progress",
             "scg.source", "scg.sums"}
    wrong = [str(i) for i in imports() if i.by.split(".")[0] == "scg_numba" and i.module.split(".")[0] == "scg"
             and i.module not in known and part(i.module) not in ("ops", "schedule")]
    assert not wrong
    of_plans = {i.module for i in imports() if i.by.split(".")[0] == "scg_numba" and part(i.module) == "schedule"}
    assert of_plans <= {"scg.schedule", "scg.schedule.language"}, "it looks into the planner"


def test_plans_know_no_technology():
    for path in (ROOT / "scg" / "schedule").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            assert not re.search(r"numba|\bnp\.|range\(", text), f"{path.name} line {node.lineno}: {text}"


def test_backends_are_loaded_by_name_only():
    for i in imports():
        own = i.by.split(".")[0]
        other = i.module.split(".")[0]
        assert other not in BACKENDS or own == other, str(i)


@pytest.mark.parametrize("library, allowed", [
    ("numba", ()), ("llvmlite", ()), ("sympy", ("export",)), ("networkx", ("export",)), ("matplotlib", ("export",)),
    ("scipy", ("ops", "distributions", "export", "laws")), ("threadpoolctl", ()), ("platformdirs", ()),
    ("tqdm", ("progress",)),
])  # fmt: skip
def test_libraries_stay_where_they_belong(library, allowed):
    wrong = [str(i) for i in imports() if i.module.split(".")[0] == library and i.by.split(".")[0] == "scg"
             and part(i.by) not in allowed]
    assert not wrong


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, scg; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    heavy = ["numba", "llvmlite", "sympy", "networkx", "matplotlib", "tqdm", *BACKENDS]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
