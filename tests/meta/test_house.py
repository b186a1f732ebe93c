"""The house: names, sizes, docstrings, registries, packaging."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import scg
from scg.baselines import BASELINES, Baseline
from scg.distributions.distribution import FAMILIES
from scg.estimators import ESTIMATORS
from scg.ir.op import OPS, lookup, register
from tests.laws.checks import parametric, shipped

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "scg").rglob("*.py"), *(ROOT / "backends").rglob("*.py")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REGISTRIES = [shipped(registry) for registry in (FAMILIES, ESTIMATORS, BASELINES)]
MOST_LINES = 450
LONGER = {  # a ratchet: these may only become shorter
    "backends/scg_numba/vector_math.py": 520,  # one table of polynomials
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- files -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source(path):
    """Files are short, say what they are for, and have names that mean something."""
    text = path.read_text()
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "tools", "lib"}
    assert text.count("\n") <= LONGER.get(relative(path), MOST_LINES), f"{relative(path)} is too long: split it"
    assert ast.get_docstring(ast.parse(text)), f"{relative(path)} does not say what it is for"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "scg")], ids=relative)
def test_public_definitions_are_documented(path):
    missing = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))
               and not n.name.startswith("_") and not ast.get_docstring(n)]
    assert not missing


def test_exceptions_to_the_size_are_still_needed():
    for name, lines in LONGER.items():
        assert MOST_LINES < (ROOT / name).read_text().count("\n") <= lines


# --- the public surface ----------------------------------------------------------------------------------------------
def surface() -> dict[str, str]:
    """Names that ``scg/__init__.py`` exports, and the modules they come from."""
    found: dict[str, str] = {}
    for node in ast.parse((ROOT / "scg" / "__init__.py").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name} is not exported explicitly: write X as X"
                assert alias.name not in found, f"{alias.name} is exported twice"
                if node.module != "scg":  # its own modules are none: see test_public_names
                    found[alias.name] = str(node.module)
    return found


@pytest.mark.parametrize("name", surface())
def test_public_name(name):
    thing = getattr(scg, name)
    assert inspect.getdoc(thing), f"scg.{name} has no docstring"
    assert thing.__doc__ is not None or not inspect.isclass(thing), f"scg.{name} inherits its docstring"


def test_everything_registered_is_public():
    for registry in REGISTRIES:
        for name, cls in registry.items():
            assert getattr(scg, name) is cls


def test_public_classes_document_their_public_methods():
    for name in surface():
        cls = getattr(scg, name)
        if inspect.isclass(cls):
            for method, function in vars(cls).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    assert inspect.getdoc(getattr(cls, method)), f"scg.{name}.{method} has no docstring"


def test_errors_have_one_base():
    for name in (n for n in surface() if n.endswith("Error")):
        assert issubclass(getattr(scg, name), scg.SCGError)


# --- registries ------------------------------------------------------------------------------------------------------
def test_registries_hold_each_thing_once_under_its_own_name():
    for name, op in OPS.items():
        assert op.name == name and lookup(name) is op
    for registry in REGISTRIES:
        for name, cls in registry.items():
            assert cls.__name__ == name
        files = [inspect.getsourcefile(cls) for cls in registry.values()]
        assert len(set(files)) == len(files), "two classes of one kind stand in one file"


def test_registering_twice_is_refused():
    for registry, again in ((OPS, lambda: register(replace(OPS["add"]))),
                            (FAMILIES, lambda: type("Normal", (scg.Distribution,), {})),
                            (ESTIMATORS, lambda: type("Pathwise", (scg.Estimator,), {})),
                            (BASELINES, lambda: type("LeaveOneOut", (Baseline,), {}))):
        before = dict(registry)
        with pytest.raises(scg.DeclarationError, match=rf"test_house.py:.*second time.*{registry.kind}.*another name"):
            again()
        assert dict(registry) == before


def test_running_a_definition_again_is_no_second_one():
    """Cells of notebooks are run again, and `dataclass(slots=True)` makes a class twice."""
    def define():
        @dataclass(frozen=True, slots=True)
        class Again(scg.Estimator):
            """Nothing."""

        return Again

    try:
        first, second = define(), define()
        assert first is not second and ESTIMATORS["Again"] is second
    finally:
        ESTIMATORS.pop("Again", None)


def test_estimators_say_what_they_are():
    for cls in shipped(ESTIMATORS).values():
        assert cls.reference and cls.evaluations and inspect.getdoc(cls)
        assert isinstance(cls.requires, tuple)
    for family in parametric(FAMILIES).values():
        assert family.cases and family.parameters and family.support.text
        assert {n for form in family.forms for n in form} == set(family.parameters)


# --- packaging -------------------------------------------------------------------------------------------------------
def test_packages_are_the_folders():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = {relative(p.parent) for p in (ROOT / "backends").glob("*/__init__.py")}
    assert set(packages) == {"scg", *folders} and len(packages) == len(set(packages))


def test_entry_points_name_the_backends():
    points = PROJECT["project"]["entry-points"]["scg.backends"]
    assert {f"backends/{module}" for module in points.values()} == {
        relative(p.parent) for p in (ROOT / "backends").glob("*/__init__.py")}  # fmt: skip
    assert all(module == f"scg_{name}" for name, module in points.items())


def test_third_party_imports_are_declared():
    def names_of(requirements) -> set[str]:
        return {re.split(r"[><=\[ ]", r)[0] for r in requirements}

    declared = names_of(PROJECT["project"]["dependencies"])
    extras = names_of(r for many in PROJECT["project"]["optional-dependencies"].values() for r in many)
    own = {"scg", *(p.parent.name for p in (ROOT / "backends").glob("*/__init__.py"))}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [str(node.module)] if isinstance(node, ast.ImportFrom) else [])
            for top in {n.split(".")[0] for n in names} - own - set(sys.stdlib_module_names):
                needed = top in declared or top == "llvmlite" or (top in extras and top in ("matplotlib", "tqdm"))
                assert needed, f"{relative(path)} imports {top}, which pyproject.toml does not declare"


def test_dependencies_have_lower_bounds_only():
    for requirement in PROJECT["project"]["dependencies"]:
        assert re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+", requirement), requirement


def test_the_version_is_said_once():
    assert PROJECT["project"]["version"] == scg.__version__
