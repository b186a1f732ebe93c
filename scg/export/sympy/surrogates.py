"""The converter of a surrogate's nodes."""

from __future__ import annotations

from scg.export.names import names_of
from scg.export.sympy import forms
from scg.export.sympy.to_sympy import Converter, Label
from scg.ir.node import Node
from scg.ops.scan import out_op
from scg.surrogate.derivation import Derivation


def converter_of(derivation: Derivation, expand: bool = False, reserved: int = 0) -> Converter:
    """The converter of a surrogate's nodes."""
    draft = derivation.draft
    labels = {}
    if not expand:
        labels = {c.id: _cost_label(name, c) for name, c in draft.costs.items() if c.op is out_op}
    return Converter(names_of(derivation), expand, labels, reserved)


def _cost_label(name: str, cost: Node) -> Label:
    """A cost inside a scan, as its name in that step."""
    def label(converter, index, at):
        return forms.Named(converter.symbol(converter.names.given(name), index), converter.defined(cost, index, at))

    return label
