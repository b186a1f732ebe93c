"""Kernels whose text Python runs as it stands, statement by statement: what the emitter wrote, not yet compiled.

What a kernel calls is what compiled kernels call, compiled once for all of them: noise, choices, sums and moments as
they are, functions of numbers (which have no text in Python) each in a function of its own. Literals are the numbers
of the type that they have for Numba, so that 0.0 / 0.0 is NaN here too. A place outside of an array is an error here,
and so is what a range reads in a working array before it has written there: that is what another range has left.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from scg_numba import cache
from scg_numba.kernel import NumbaKernel
from scg_numba.running import Workspace
from scg_numba.text import IMPORTS, RARE

OF_ONE_NUMBER = """from numba import njit
from {module} import {name}


@njit(error_model="numpy", fastmath=False)
def of(x):
    return {name}(x{more})
"""
OF_TWO_NUMBERS = OF_ONE_NUMBER.replace("of(x)", "of(x, y)").replace("(x{more})", "(x, y)")


def _common(x, y) -> type:
    """The type in which two numbers are added."""
    return type(x) if type(x) is type(y) and isinstance(x, np.floating) else np.float64


def _product(turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc) -> None:
    """A matrix product, of matrices that lie in arrays."""
    def matrix(array, start, rows, columns, apart):
        flat = array.reshape(-1)
        assert start >= 0 and start + (rows - 1) * apart + columns <= flat.size and columns <= max(apart, 1)
        return np.lib.stride_tricks.as_strided(flat[start:], (rows, columns), (apart * flat.itemsize, flat.itemsize))

    left = matrix(a, a0, *((k, m) if turned_a else (m, k)), lda)
    right = matrix(b, b0, *((n, k) if turned_b else (k, n)), ldb)
    target = matrix(c, c0, m, n, ldc)
    target[...] = (left.T if turned_a else left) @ (right.T if turned_b else right) + (beta * target if beta else 0.0)


def _mean_product(share, turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc) -> None:
    """The same, of so many times the first matrix, which is copied."""
    _product(turned_a, turned_b, m, n, k, share * a, a0, lda, b, b0, ldb, beta, c, c0, ldc)


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "added": lambda total, x: np.float64(total) + np.float64(x),
    "added_product": lambda total, x, y: np.float64(total) + np.float64(x) * np.float64(y),
    "bits": lambda x: int(np.float64(x).view(np.int64)),
    "times": lambda x, y: _common(x, y)(x) * _common(x, y)(y),
    "plus": lambda x, y: _common(x, y)(x) + _common(x, y)(y),
    "minus": lambda x, y: _common(x, y)(x) - _common(x, y)(y),
    "matrix_product": _product,
    "mean_product": _mean_product,
}
TWO = ("deviance", "gamma_slope", "log_ratio")


class Written(np.ndarray):
    """Whole numbers of which only those may be read that have been written."""

    @classmethod
    def of(cls, size: int) -> Written:
        """None has been."""
        found = np.zeros(size, np.int64).view(cls)
        found.written = np.zeros(size, bool)
        return found

    def __getitem__(self, at):
        found = super().__getitem__(at)
        if isinstance(found, Written):
            found.written = self.written[at]
        else:
            assert self.written[at], f"element {at} of a working array is read before it is written"
        return found

    def __setitem__(self, at, value):
        super().__setitem__(at, value)
        self.written[at] = True


def _arrays(workspace: Workspace) -> tuple[np.ndarray, ...]:
    """Working arrays as a range must not look at them: what it has not written itself is NaN, or an error."""
    found = [Written.of(size) if kind == "int64" else np.full(size, np.nan, kind) for size, kind in workspace.sizes]
    return *found, *workspace.constants


def _seen_through(found: Dispatcher) -> Callable[..., Any]:
    """A compiled function; run by Python where it is given such arrays."""
    return lambda *given: (found.py_func if any(isinstance(each, Written) for each in given) else found)(*given)


@functools.cache
def _compiled(text: str) -> Callable[..., Any]:
    module = cache.load(text)
    return lambda *numbers: _typed(module.of(*numbers), numbers[0])


def _typed(found: float, x: Any) -> np.floating:
    """What a compiled function gave back as a Python number, in the type that it has in a kernel."""
    return np.float32(found) if isinstance(x, np.float32) else np.float64(found)


@functools.cache
def _powers(n: int) -> Callable[..., Any]:
    return _compiled(OF_ONE_NUMBER.format(module="scg_numba.powers", name="whole_power", more=f", {n}"))


@functools.cache
def _called(module: str, name: str) -> Any:
    """What a kernel calls under a name."""
    found = getattr(importlib.import_module(module), name)
    if name in ARITHMETIC:
        return ARITHMETIC[name]
    if name == "whole_power":
        return lambda x, n: _powers(n)(x)
    if isinstance(found, Dispatcher):
        return found.py_func if found.targetoptions.get("inline") == "always" else _seen_through(found)
    if isinstance(found, dict):
        return found
    return _compiled((OF_TWO_NUMBERS if name in TWO else OF_ONE_NUMBER).format(module=module, name=name, more=""))


@functools.cache
def _names() -> dict[str, tuple[str, str]]:
    """Where what kernels import is defined."""
    rare = {name: (f"scg_numba.{module}", name) for name, module in RARE.items()}
    return rare | {alias.name: (node.module, alias.name)
                   for node in ast.parse(IMPORTS).body if isinstance(node, ast.ImportFrom) for alias in node.names}


class _Typed(ast.NodeTransformer):
    """Decimal literals become the float64 that they are for Numba."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, float):
            return node
        return ast.Call(ast.Name("_float64", ast.Load()), [node], [])


def chunk_of(text: str) -> Callable[..., Any]:
    """The function of a kernel's module, as Python has it."""
    tree = ast.parse(text)
    tree.body = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    namespace = {name: _called(*where) for name, where in _names().items() if name in used}
    namespace |= {"np": np, "_float64": np.float64} | dict.fromkeys(("njit", "lowered"), lambda **options: lambda f: f)
    exec(compile(ast.fix_missing_locations(_Typed().visit(tree)), "<a kernel>", "exec"), namespace)
    chunk = namespace["chunk"]

    def quietly(*arguments):
        with np.errstate(all="ignore"):
            return chunk(*arguments)

    quietly.overloads = {(): chunk}  # nothing is left to compile
    return quietly


@contextlib.contextmanager
def run_by_python() -> Iterator[list[str]]:
    """Kernels that are run in here are run by Python; their texts, as they are run for the first time."""
    texts: list[str] = []
    functions: dict[str, Callable[..., Any]] = {}

    def function(kernel: NumbaKernel) -> Callable[..., Any]:
        text = kernel.text.code()
        if text not in functions:
            texts.append(text)
            functions[text] = chunk_of(text)
        return functions[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumbaKernel, "function", property(function))
        patch.setattr(Workspace, "arrays", property(_arrays))
        yield texts
