"""A compiled estimator as a standalone Python module.

The module is made of this package's own text: the kernel with the noise and vector mathematics that it calls (the
backend supplies these), and the host's modules that check a call, divide it, merge its parts and hold its results. So
it computes the same bits, refuses the same calls in the same words, and there is nothing to keep in step. What users
name is written into it as literals and escaped text only.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from scg import errors, markup, noise, program, sums
from scg.errors import InternalError, SCGError
from scg.ir import location, signed
from scg.ir.location import calling
from scg.run import by_name, calls, estimate, table, values
from scg.run import executors as threads
from scg.run import moments as statistics
from scg.source import imports_of, in_docstring, names_of, without_imports

_HOST = (errors, location, signed, by_name, noise, sums, program, values, statistics, threads, calls, markup, table)
_EXAMPLES = (0.5, 1.5, 0.1, 3.0, 0.0, 1.0, 2.0)  # at which an estimate is tried, to be checked where the module goes

_DATACLASS = '''
def dataclass(**options):
    """`dataclasses.dataclass`, which would look annotations up in `sys.modules`, where this module need not be."""

    def decorate(cls):
        cls.__annotations__ = dict.fromkeys(cls.__annotations__, Any)
        return dataclasses.dataclass(**options)(cls)

    return decorate
'''

_PLACE = '''
_PACKAGE = here.__code__.co_filename  # errors name the line outside this file that called
'''

_CALL = '''
LAYOUT = {layout}


class _Compiled:
    """The kernel, as `Calls` runs it."""

    def run(self, call: Call, part: Chunk) -> Partial:
        return run_chunk(chunk, WORKSPACE, LAYOUT, call, part)


CALLS = Calls(LAYOUT, _Compiled(), {initial}, {explicit}, {measured}, {notes})


def estimate(values: Mapping[str, Any] = VALUES, *more, samples: int = 1, rng=None,
             state: Mapping[str, Any] | None = None, **unknown) -> Estimate:
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
    CallError
        If values are missing, unknown, of wrong shape, not finite, or outside a parameter's constraint; a ValueError.
    NonFiniteError
        If the estimate is not finite; an ArithmeticError.
    """
    if more or unknown:
        CALLS.refuse_arguments("estimate", ("samples", "rng", "state"), more, unknown)
    return Estimate(LAYOUT, *CALLS(values, samples, rng, state))


def self_check() -> None:
    """Compare the noise with known answers, and an estimate with the one that was made at export."""
    if philox((0, 0, 0, 0), (0, 0)) != (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8):
        raise InternalError("", "The noise is wrong.")
    example = {example}
    if example is None:
        print("self-check passed for the noise; no estimate was checked: the values tried at export gave none")
        return
    found = estimate({{n: np.array(v) for n, v in example["values"].items()}}, samples=example["samples"], rng=0)
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
        If the function's backend makes no standalone kernels, or there is no such place.
    """
    where = calling(f._layout.name)
    standalone = getattr(f._kernel, "standalone", None)
    if standalone is None:
        raise SCGError(where, f"export of a {f._options['backend']} estimator was asked for.",
                       "That backend interprets; there is no kernel to export.", 'Compile with backend="numba".')
    text = _text(f, standalone())
    try:
        Path(path).write_text(text, encoding="utf-8")
    except (OSError, TypeError, ValueError) as why:
        raise SCGError(where, f"export to {path!r} was asked for.", f"That cannot be written: {why}.",
                       'Give the path of a file, e.g. "estimator.py".') from None


def _text(f, kernel: list[tuple[str, str]]) -> str:
    """The whole module."""
    host = [(module.__name__.rpartition(".")[2], inspect.getsource(module)) for module in _HOST]
    of_estimate = inspect.getsource(estimate)
    host.append(("estimate", textwrap.dedent(inspect.getsource(estimate.Estimate))))
    texts = [*host, *kernel]
    lines = {line for _, text in (*texts, ("", of_estimate)) for line in imports_of(text)} - {
        "from dataclasses import dataclass"}
    lines |= {"import dataclasses", "from typing import Any", "from collections.abc import Mapping"}
    imports = sorted(lines, key=lambda line: (line.startswith("from"), line))
    _check_names([*texts, ("call", _DATACLASS)])
    verdict = textwrap.indent(str(f.verdict.plain()), "    ") or "    no sites"
    title = (f'Estimator of graph "{f._layout.name}", exported by scg.\n\n``estimate(values, samples=…, rng=…)`` '
             "returns cost, gradients and standard errors; run the file to check it.\nNeeds numpy and numba. Every "
             f"process compiles it at its first call.\n\n{verdict}\n")
    parts = [f'"""{in_docstring(title)}"""\n\nfrom __future__ import annotations\n', "\n".join(imports), "", _DATACLASS]
    for name, text in texts:
        parts.append(f"\n# --- {name} {'-' * (112 - len(name))}\n\n{without_imports(text)}")
        if name == "location":
            parts.append(_PLACE)
    return "\n".join([*parts, f"\n# --- the call {'-' * 104}\n", _call(f)])


def _check_names(texts: list[tuple[str, str]]) -> None:
    """In one module a second definition would replace the first."""
    seen: dict[str, str] = {}
    for part, text in texts:
        for name in set(names_of(text)) - {"__all__", "TYPE_CHECKING"}:
            if name in seen:
                raise InternalError("", f"{name} is defined in {seen[name]} and in {part}.",
                                    "An exported module holds both.", "Rename one of them.")
            seen[name] = part


def _call(f) -> str:
    leaves = ", ".join(f"{leaf.name!r} {('rows', *leaf.shape) if leaf.role == 'data' else leaf.shape}"
                       for leaf in f._layout.leaves if leaf.role != "state").replace("'rows'", "rows")
    return _CALL.format(layout=literal(f._layout), initial=literal(f._initial), explicit=literal(f._explicit_groups),
                        measured=literal(bool(f._options["stderr"])), notes=literal(tuple(f._calls.notes)),
                        leaves=in_docstring(leaves) or "none", example=literal(_example(f)))


def literal(value: Any) -> str:
    """Python code for a value: only what is known here, and text as text, whatever class its words are of."""
    if isinstance(value, str):
        return repr(str.__add__(value, ""))  # a plain str, whose repr is an escaped literal
    if value is None or isinstance(value, bool):
        return repr(bool(value)) if value is not None else "None"
    if isinstance(value, (int, np.integer)):
        return repr(int.__index__(value) if isinstance(value, int) else int(value))
    if isinstance(value, (float, np.floating)):
        number = float.__float__(value) if isinstance(value, float) else float(value)
        return repr(number) if math.isfinite(number) else f"float({str(number)!r})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(f'{name}={literal(v)}' for name, v in fields)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(literal, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    raise InternalError("", f"{value!r} was to be written into a module.", "It has no literal.")


def _example(f) -> dict | None:
    """Values at which the estimator works, and what it gives there."""
    group = f._layout.group or 1
    samples = group * max(128 // group, 1)
    for number in _EXAMPLES:
        values = {leaf.name: np.full(((2, *leaf.shape) if leaf.role == "data" else leaf.shape), number)
                  for leaf in f._layout.leaves if leaf.role != "state"}
        try:
            r = f(values, samples=samples, rng=0)
        except SCGError:
            continue
        return {"values": {n: v.tolist() for n, v in values.items()}, "samples": samples, "cost": r.cost,
                "grad": {n: g.tolist() for n, g in r.grad.items()},
                "rtol": 1e-3 if f._layout.dtype == "float32" else 1e-9}
    return None
