r"""What estimators other than the score function are made of, as their papers write it.

================================  ==================================================================================
``p(h_i = 1 | …)``, ``\mu_h``      probabilities of values, means
``Q_h(h_i ← 1)``                  the influenced costs where one draw is replaced, the rest of the graph replayed
``\bar h, \bar Q_h, \bar Q_h'``    what an estimator calls so (`Estimator.parts`)
================================  ==================================================================================
"""

from __future__ import annotations

import re

import sympy

from scg.distributions import Distribution
from scg.errors import SCGError
from scg.estimators import Estimator
from scg.export.sympy.forms import Phrase
from scg.export.sympy.loops import Frame
from scg.export.sympy.to_sympy import At, Converter, Label
from scg.ir.index_map import reshaped
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.cancelling import either_op
from scg.ops.measure import axis_to_event_op, replace_one_op
from scg.ops.scan import scan_op
from scg.surrogate.derivation import Derivation
from scg.surrogate.site import Site


class InTerms:
    """What a surrogate's terms are made of: the ids of all nodes, and the replays of each site's draws."""

    def __init__(self, derivation: Derivation):
        order = topological([t.node for t in derivation.draft.terms])
        self.ids = {n.id for n in order}
        self.replays: dict[str, list[Node]] = {}
        for n in order:
            if n.op is axis_to_event_op:
                self.replays.setdefault(n.attrs.name, []).append(n)


def marks(derivation: Derivation, site: Site, name: str, given: str, terms: InTerms) -> dict[int, Label]:
    """Labels by node id, for one site whose name is given in LaTeX.

    Its parents are given as a format, in which {0} stands for the step and {1} for the one before.
    """
    found: dict[int, Label] = {}

    def mark(node: Node, label: Label) -> None:
        if node.id in terms.ids and node.op.kind != "leaf":
            found.setdefault(node.id, label)

    if not site.dist.event_shape and site.family.can("support_values") and site.dist.support_values() is not None:
        mark(site.of(lambda dist, x: dist.probabilities(site.values)), _probability(site, name, given))
    estimator = derivation.verdicts[site.name].estimator
    for text, part in _parts(estimator, site).items():
        mark(part, _indexed(text.replace("@bar", _accented(name, "bar")).replace("@", name)))
    if site.family.can("mean"):
        mark(site.of_value(lambda dist, x: dist.mean), _indexed(rf"\mu_{{{name}}}"))
        if site.family.can("weak_derivative") and (eta := _written_otherwise(site.dist.mean, site.dist)) is not None:
            mark(site.of(lambda dist, x: dist.weak_derivative()[eta].eta), _indexed(rf"\mu_{{{name}}}"))
    for n in terms.replays.get(f"{site.name} element", ()):
        replaced = _replaced(n)
        if replaced is not None:
            mark(n, _replay(site, name, *replaced))
    return found


def _accented(name: str, accent: str) -> str:
    head, *below = re.split(r"(?<!\\)(?=_)", name, maxsplit=1)  # at its subscript
    return rf"\{accent}{{{head}}}{''.join(below)}"


def _indexed(text: str) -> Label:
    def label(converter: Converter, index, at: At):
        inner = ",".join(f"{{{i}}}" for i in range(len(index)))
        plain = text.replace("{", "{{").replace("}", "}}")
        return Phrase(f"{{{{{plain}}}}}_{{{{{inner}}}}}" if index else plain, *index)

    return label


def _probability(site: Site, name: str, given: str) -> Label:
    """p(site = v | parents), for v along the axis of its values."""
    worlds = site.dist.values_along(site.values)

    def label(converter: Converter, index, at: At):
        below = ",".join(f"{{{i + 3}}}" for i in range(len(index)))
        draw = _at(braced(name), f"_{{{{{below}}}}}" if index else "")
        t = index[0] if index else 0
        return Phrase(f"p({draw} = {{2}}" + (rf" \mid {given})" if given else ")"),
                      t, sympy.sympify(t) - 1, converter.element(worlds, (), at), *index)

    return label


def braced(text: str) -> str:
    """For `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")


def _at(name: str, below: str) -> str:
    return f"{{{{{name}}}}}{below}" if below and "_" in name else name + below


def _parts(estimator, site: Site) -> dict[str, Node]:
    """What the estimator itself has names for; nothing where that is not to be had of the finished surrogate."""
    if not isinstance(estimator, Estimator):
        return {}
    try:
        return estimator.parts(site)
    except SCGError:
        return {}


def _written_otherwise(mean: Node, dist: Distribution) -> int | None:
    """Which weak derivative is by the mean, as it is computed more carefully."""
    return next((k for k, triple in enumerate(dist.weak_derivative())
                 if triple.eta.op is either_op and triple.eta.args[2] is mean), None)


def _replaced(n: Node) -> tuple[Node, Node | None] | None:
    """The value that a replay puts in a draw's place, and the scan that it is in."""
    for m in topological(n.args):
        if m.op is replace_one_op and m.attrs == n.attrs:
            return m.args[1], None
        if m.op is scan_op:
            for inner in topological(m.attrs.outputs):
                if inner.op is replace_one_op and inner.attrs == n.attrs:
                    return inner.args[1], m
    return None


def _replay(site: Site, name: str, value: Node, scan: Node | None) -> Label:
    def label(converter: Converter, index, at: At):
        element, *rest = index
        step = () if scan is None else (at.world(f"{site.name} step"),)
        at = at if scan is None else at.inside(Frame(scan, step[0], None))
        element_index = reshaped((element,), (value.size,), value.shape)
        v = sympy.sympify(converter.element(value, element_index, at))
        where = (*step, *(i for i in element_index))
        below = ",".join(f"{{{i + 1}}}" for i in range(len(where)))
        draw = _at(braced(name), f"_{{{{{below}}}}}" if where else "")
        return Phrase(f"Q_{{{{{braced(name)}}}}}({draw} \\leftarrow {{0}})", v, *where, *rest)

    return label
