"""The formula of an op at numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from scg.ir.op import Op


def formula_at(op: Op, args: Sequence[Any], attrs: Sequence[Any]) -> bool | float:
    """What the sympy form of an elementwise op is at numbers, to the precision of a float."""
    assert op.sympy is not None
    exact = [sympy.true if a is True else sympy.false if a is False else sympy.Float(a, 40) for a in args]
    form = op.sympy(sympy, *exact, *attrs)
    return bool(form) if op.result == "bool" else float(sympy.N(form, 30))
