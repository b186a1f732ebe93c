"""The converter of a surrogate's nodes."""

from __future__ import annotations

from scg.export.sympy import forms
from scg.export.sympy.to_sympy import Converter, Label
from scg.ir.node import Node
from scg.ops.scan import out_op
from scg.surrogate.derivation import Derivation


def converter_of(derivation: Derivation, expand: bool = False, reserved: int = 0) -> Converter:
    """The converter of a surrogate's nodes: its sites have their plain names, other draws of them primes."""
    draft = derivation.draft
    labels = {}
    if not expand:
        labels = {c.id: _cost_label(name, c) for name, c in draft.costs.items() if c.op is out_op}
    converter = Converter(derivation.graph, expand, labels, reserved)
    converter.claim([*draft.values.values(), *draft.costs.values(), *draft.roots()])
    return converter


def _cost_label(name: str, cost: Node) -> Label:
    """A cost inside a scan, as its name in that step."""
    return lambda converter, index, at: forms.Named(converter.symbol(name, index), converter.defined(cost, index, at))
