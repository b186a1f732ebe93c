"""A compiled estimator as a standalone Python module.

The module is made of this package's own text: the kernel with the noise and vector mathematics that it calls (the
backend supplies these), and the host's functions that divide a call, merge its parts and hold its results. So it
computes the same bits, and there is nothing to keep in step.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import numpy as np

from scg import estimate, noise, program, statistics
from scg.errors import Problem, SCGError
from scg.source import without_imports

_HOST = (Problem, program.Leaf, program.Slot, program.Layout, program.Chunk, program.Division, program.divide,
         program._groups, program._chunks, program._edge, program.Call, program.Partial, statistics.Merged,
         statistics.merge, statistics.not_known, statistics._sound, statistics._joined, statistics._variance,
         statistics._over_rows, statistics.gather, statistics._add_rows, statistics.row_means,
         statistics.row_errors, estimate.Estimate)


_IMPORTS = '''from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload


def dataclass(**options):
    """`dataclasses.dataclass`, which would look annotations up in `sys.modules`, where this module need not be."""

    def decorate(cls):
        cls.__annotations__ = dict.fromkeys(cls.__annotations__, Any)
        return dataclasses.dataclass(**options)(cls)

    return decorate
'''

_CALL = '''
LAYOUT = {layout}
INITIAL = {initial}
EXPLICIT_GROUPS = {explicit}


def arrays_of(values: Mapping[str, Any], state: Mapping[str, Any] | None) -> tuple[tuple[np.ndarray, ...], int]:
    """The arrays of a call in the kernel's order, and the number of rows."""
    rows, out = 1, []
    unknown = set(values) - {{leaf.name for leaf in LAYOUT.leaves if leaf.role != "state"}}
    if unknown:
        raise ValueError(f"unknown values: {{', '.join(sorted(unknown))}}")
    for leaf in LAYOUT.leaves:
        if leaf.role == "state":
            value = (state or {{}}).get(leaf.name, np.full(leaf.shape, INITIAL[leaf.name]))
        elif leaf.name in values:
            value = values[leaf.name]
        else:
            raise ValueError(f"the value of {{leaf.name!r}} is missing; give an array of shape {{leaf.shape}}")
        array = np.ascontiguousarray(value, dtype=LAYOUT.dtype).reshape(np.shape(value))
        if (array.shape[1:] if leaf.role == "data" else array.shape) != leaf.shape:
            raise ValueError(f"the value of {{leaf.name!r}} has shape {{array.shape}}; it must be "
                             f"{{('rows', *leaf.shape) if leaf.role == 'data' else leaf.shape}}")
        if not np.isfinite(array).all():
            raise ValueError(f"the value of {{leaf.name!r}} holds NaN or infinity")
        if leaf.role == "data":
            if rows not in (1, len(array)):
                raise ValueError(f"{{leaf.name!r}} has {{len(array)}} rows, other data has {{rows}}")
            rows = len(array)
        out.append(array)
    return tuple(out), rows


def estimate(values: Mapping[str, Any], *, samples: int = 1, rng=None,
             state: Mapping[str, Any] | None = None) -> Estimate:
    """Estimate the objective and its gradient.

    Parameters
    ----------
    values : dict of str to array_like
        {leaves}
    samples : int
        Replicates per row.
    rng : None, int, SeedSequence or Generator
        A Generator advances by one 64-bit draw; an int is the seed itself.
    state : dict, optional
        ``r.state`` of the call before.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If values or samples cannot be used.
    ArithmeticError
        If the estimate is not finite.
    """
    if not isinstance(samples, (int, np.integer)) or isinstance(samples, bool) or samples < 1 + EXPLICIT_GROUPS:
        raise ValueError(f"samples={{samples!r}}; it must be a whole number from {{1 + EXPLICIT_GROUPS}}")
    if LAYOUT.group is not None and samples % LAYOUT.group:
        raise ValueError(f"samples={{samples}}; it must be a multiple of the leave-one-out group, {{LAYOUT.group}}")
    arrays, rows = arrays_of(values, state)
    seed = seed_of(rng)
    division = divide(LAYOUT, rows, int(samples))
    call = Call(arrays, seed, division)
    partials = (run_chunk(chunk, WORKSPACE, LAYOUT, call, part) for part in division.chunks)
    partials, by_row = gather(LAYOUT, division, partials)
    merged = merge(LAYOUT, division, partials, by_row)
    for slot, where in LAYOUT.spans.get("check", ()):
        if merged.mean[where.start] != 0.0:
            raise ValueError(slot.name)
    if merged.fault:
        raise ArithmeticError("the estimate is not finite")
    return Estimate(LAYOUT, division, merged, seed, {{}}, ())


def self_check() -> None:
    """Compare the noise with known answers, and an estimate with the one that was made at export."""
    assert philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8), "noise is wrong"
    example = {example}
    if example is not None:
        found = estimate({{n: np.array(v) for n, v in example["values"].items()}}, samples=128, rng=0)
        np.testing.assert_allclose(found.cost, example["cost"], rtol=1e-9, atol=1e-12)
        for name, gradient in example["grad"].items():
            np.testing.assert_allclose(found.grad[name], np.array(gradient), rtol=example["rtol"], atol=example["rtol"])
    print("self-check passed")


if __name__ == "__main__":
    self_check()
'''


def write(f, path) -> None:
    """Write the standalone module of an estimator function.

    Parameters
    ----------
    f : EstimatorFunction
    path : str or path

    Raises
    ------
    SCGError
        If the function's backend makes no standalone kernels.
    """
    standalone = getattr(f._kernel, "standalone", None)
    if standalone is None:
        raise SCGError(f'graph "{f._layout.name}"', f"export of a {f._options['backend']} estimator was asked for.",
                       "That backend interprets; there is no kernel to export.", 'Compile with backend="numba".')
    host = "\n\n\n".join(textwrap.dedent(inspect.getsource(thing)).rstrip() for thing in _HOST)
    verdict = _in_docstring(textwrap.indent(str(f.verdict.plain()) or "no sites", "    "))
    head = (f'"""Estimator of graph "{f._layout.name}", exported by scg.\n\n``estimate(values, samples=…, rng=…)`` '
            "returns cost, gradients and standard errors; run the file to check it.\nNeeds numpy and numba.\n\n"
            f'{verdict}\n"""\n\n')
    parts = [head + _IMPORTS, _banner("noise, as the host sees it"), without_imports(inspect.getsource(noise)),
             standalone(), _banner("calls"),
             f"BLOCK, MOST_CHUNKS, LARGEST_GROUP = {program.BLOCK}, {program.MOST_CHUNKS}, "
             f"{program.LARGEST_GROUP}\n\n\n" + host + "\n", _call(f)]
    Path(path).write_text("\n".join(parts), encoding="utf-8")


def _banner(text: str) -> str:
    return f"\n# --- {text} {'-' * (112 - len(text))}\n"


def _in_docstring(text: str) -> str:
    """Text with users' names in it, as it is written between triple quotes."""
    return text.replace("\\", r"\\").replace('"""', r'\"\"\"')


def _call(f) -> str:
    leaves = ", ".join(f"{leaf.name!r} {('rows', *leaf.shape) if leaf.role == 'data' else leaf.shape}"
                       for leaf in f._layout.leaves if leaf.role != "state").replace("'rows'", "rows")
    return _CALL.format(layout=repr(f._layout), initial=repr(f._initial), explicit=f._explicit_groups,
                        leaves=_in_docstring(leaves) or "none", example=repr(_example(f)))


def _example(f) -> dict | None:
    """Values at which the estimator works, and what it gives there."""
    for number in (0.5, 1.5, 0.1, 3.0):
        values = {leaf.name: np.full(((2, *leaf.shape) if leaf.role == "data" else leaf.shape), number)
                  for leaf in f._layout.leaves if leaf.role != "state"}
        try:
            r = f(values, samples=128 if f._layout.group is None else 128 // f._layout.group * f._layout.group, rng=0)
        except SCGError:
            continue
        if f._layout.group is not None and 128 % f._layout.group:
            return None
        return {"values": {n: v.tolist() for n, v in values.items()}, "cost": r.cost,
                "grad": {n: g.tolist() for n, g in r.grad.items()},
                "rtol": 1e-3 if f._layout.dtype == "float32" else 1e-9}
    return None
