"""An exported module is the function: every field of every result, wherever the module lies and whatever its name."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import llvmlite
import numba
import numpy as np
import pytest
from problems import PROBLEMS

import scg
from tests.laws.checks.exported import with_the_kernel_of

pytestmark = pytest.mark.optimised
FEW = ("scan_4_steps", "normal_rows", "dirichlet_shares")
FIELDS = [name for name in dir(scg.Estimate) if not name.startswith("_")]


def loaded(path: Path, name: str) -> ModuleType:
    """The module in a file, under a name that nothing can be imported by."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(ours: scg.Estimate, theirs) -> None:
    """The same bits in every field, and the same words about them."""
    assert {"cost", "grad", "stderr", "state", "record", "notes", "seed", "rows"} <= set(FIELDS)
    for name in FIELDS:
        np.testing.assert_equal(getattr(theirs, name), getattr(ours, name), err_msg=name)
    assert repr(theirs) == repr(ours) and theirs._repr_html_() == ours._repr_html_()


def copies(path: Path) -> list[Path]:
    """The module where it was written, and in two copies of its folder: with caches, and without under another name."""
    home = path.parent
    with_caches = Path(shutil.copytree(home, home.parent / "with caches"))
    without = Path(shutil.copytree(home, home.parent / "without", ignore=shutil.ignore_patterns("__pycache__")))
    return [path, with_caches / path.name, (without / path.name).rename(without / "another name.py")]


@pytest.mark.by_python
@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.full) for n in PROBLEMS])
def test_every_field_of_every_problem(name, tmp_path, request):
    """Seed by seed, by three copies; in the full run the first of them compiles itself."""
    p = PROBLEMS[name]()
    f = scg.compile(p.graph)
    home = tmp_path / "home"
    home.mkdir()
    f.export(home / "model.py", values=p.values)
    first, *others = copies(home / "model.py")
    modules = [loaded(first, "model")]
    assert request.config.getoption("--full") or with_the_kernel_of(f, modules[0])
    modules += [with_the_kernel_of(f, loaded(path, name)) for path, name in zip(others, ("a.b", "__mp_main__"))]
    for seed, samples in enumerate((1, 70, 64)):
        ours = f(p.values, samples=samples, rng=seed)
        for module in modules:
            same(ours, module.estimate(p.values, samples=samples, rng=seed))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: modules[0].estimate(p.values, samples=8, rng=seed), range(8)))
        same(f(p.values, samples=300, rng=1), modules[1].estimate(p.values, samples=300, rng=1, executor=pool))
    for seed, theirs in enumerate(found):
        same(f(p.values, samples=8, rng=seed), theirs)
    modules[2].self_check()


FRESH = """
import sys
sys.modules.update(dict.fromkeys(("scg", "scg_numba", "scg_numpy", "scipy", "sympy", "networkx")))
sys.path += paths
import json, runpy
from concurrent.futures import ThreadPoolExecutor
module = runpy.run_path(path, run_name="__main__")
def numbers(seed):
    r = module["estimate"]({"theta": 0.3}, samples=300_000, rng=seed)
    return [float(x).hex() for x in (r.cost, r.grad["theta"], r.stderr["theta"])]
with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(numbers, range(8)))))
"""


def test_a_fresh_environment(tmp_path):
    """NumPy and Numba are all that a process has that runs the module, which compiles itself, from 8 threads."""
    p = PROBLEMS["bernoulli_toy"]()
    f = scg.compile(p.graph)
    f.export(tmp_path / "exported.py", values={"theta": 0.3})
    homes = sorted({os.path.dirname(os.path.dirname(library.__file__)) for library in (np, numba, llvmlite)})
    code = f"paths, path = {homes!r}, {str(tmp_path / 'exported.py')!r}" + FRESH
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False,
                         env={"PATH": "", "HOME": str(tmp_path)})
    said, *found = run.stdout.splitlines()
    assert said == "self-check passed" and not run.stderr, run.stderr
    for seed, theirs in enumerate(json.loads(found[0])):
        r = f({"theta": 0.3}, samples=300_000, rng=seed)
        assert theirs == [float(x).hex() for x in (r.cost, r.grad["theta"], r.stderr["theta"])]
