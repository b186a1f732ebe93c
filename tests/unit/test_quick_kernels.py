"""What most tests have compiled in little time is code of its own, and computes what users' code does."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from scg_numba import cache

import scg
from tests.laws.checks.quick_kernels import compiled_quickly
from tests.problems import PROBLEMS

pytestmark = pytest.mark.optimised


def called() -> SimpleNamespace:
    """A function that was called, its estimate, and its kernel's machine code."""
    p = PROBLEMS["bernoulli_toy"]()
    f = scg.compile(p.graph)
    found = f(p.values, samples=200, rng=3)
    (compiled,) = f._calls.kernel.function.overloads.values()
    return SimpleNamespace(function=f, found=found, code=compiled.library)


def is_quick(code) -> bool:
    """Whether LLVM did not optimise it: by who made it."""
    return type(code.codegen).__module__ == compiled_quickly.__module__


def test_it_is_never_found_in_the_place_of_the_other(tmp_path, monkeypatch):
    """Nor the other in its: not while both are there, and not among what was kept."""
    monkeypatch.setenv("SCG_CACHE_DIR", str(tmp_path))
    read, names = cache.stored.read, []
    monkeypatch.setattr(cache.stored, "read", lambda name: names.append(name) or read(name))
    kept = []
    for _ in range(2):  # the second time all of it was kept
        plain = called()
        with compiled_quickly():
            quick, once_more = called(), called()
        after = called()
        assert is_quick(quick.code) and once_more.code is quick.code
        assert not is_quick(plain.code) and after.code is plain.code
        for name, gradient in plain.found.grad.items():
            np.testing.assert_allclose(quick.found.grad[name], gradient, rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(quick.found.stderr[name], plain.found.stderr[name], rtol=1e-9, atol=1e-14)
        kept.append({name for name in names if (tmp_path / name).exists()})
        names.clear()
        del plain, quick, once_more, after
        gc.collect()
    assert len(kept[1]) == 2 and kept[1] <= kept[0]
