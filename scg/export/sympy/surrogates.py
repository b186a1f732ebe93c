"""The converter of a surrogate's nodes."""

from __future__ import annotations

from scg.export.names import names_of
from scg.export.sympy import named
from scg.export.sympy.to_sympy import Converter, Label
from scg.ir.node import Node
from scg.ops.scan import out_op
from scg.surrogate.derivation import Derivation


def converter_of(derivation: Derivation, expand: bool = False, reserved: int = 0, about: str = "") -> Converter:
    """The converter of a surrogate's nodes; the node of the name `about` is a symbol that knows its definition."""
    draft = derivation.draft
    labels = {}
    if not expand:
        labels = {c.id: _label(name, c) for name, c in draft.costs.items() if c.op is out_op}
    if about:
        labels[derivation.targets[about].id] = _label(about, derivation.targets[about])
    return Converter(names_of(derivation), expand, labels, reserved, sharing=True)


def _label(name: str, node: Node) -> Label:
    """A node as its name; a cost inside a scan, as its name in that step."""
    def label(converter, index, at):
        return named.Named(converter.symbol(converter.names.given(name), index), converter.defined(node, index, at))

    return label
