"""LaTeX of a surrogate: as in the paper (costs, and log p times stopped costs), or of the whole expression.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sympy

from scg.analysis.dependence import Dependence
from scg.analysis.influence import SiteNode
from scg.analysis.reach import sum_of
from scg.export.names import Names, names_of
from scg.export.shown import views
from scg.export.sympy.forms import Phrase
from scg.export.sympy.marks import InTerms, braced, marks
from scg.export.sympy.named import written_symbols
from scg.export.sympy.parents import EARLIER, NOW, PREVIOUS, Loop, Parent, Parents, stacked
from scg.export.sympy.to_sympy import Converter, Label, deep
from scg.ir.node import Node
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term
from scg.surrogate.site import Site

_MANY = 8  # of more parents than this the middle ones are left out


def expanded(expr, names: Names) -> str:
    """A sympy expression, with names as mathematicians set them."""
    with deep():
        shown = {s: names.latex(s.name) for s in written_symbols(expr)}
        return sympy.latex(expr, symbol_names=shown, mul_symbol=r"\,")


# --- as in the paper -------------------------------------------------------------------------------------------------
def paper(derivation: Derivation, terms: Iterable[Term]) -> str:
    r"""L = Σ c(parents) + Σ log p(site | parents) ⊥(its costs − baseline), in LaTeX."""
    draft, parents = derivation.draft, Parents(names_of(derivation))
    drawn = views(derivation)
    costs = {c.id: _cost(derivation, name, parents, drawn) for name, c in draft.costs.items()}
    names = {c.id: _symbol(name) for name, c in draft.costs.items()}
    scores = {}
    for site in drawn.values():
        scores[site.score.id] = scores[site.per_signal(site.log_prob).id] = _score(site, parents, derivation.form)
    others: dict[int, Label] = {}
    known = InTerms(derivation)
    for site in drawn.values():
        others |= marks(derivation, site, _name(site.name, parents), _listed(_given(site.site_node, parents), parents),
                        known)
    parts = _converted(derivation, draft.costs.values(), costs)
    parts += _converted(derivation, [t.node for t in terms], others | names | scores)
    return " ".join(p if i == 0 or p.startswith("-") else f"+ {p}" for i, p in enumerate(parts)) or "0"


def _converted(derivation: Derivation, nodes: Iterable[Node], labels: dict[int, Label]) -> list[str]:
    names = names_of(derivation)
    converter = Converter(names, False, labels)
    return [expanded(converter.scalar(sum_of([node])), names) for node in nodes]


def _symbol(name: str) -> Label:
    return lambda converter, index, at: converter.symbol(converter.names.given(name), index)


def _cost(derivation: Derivation, name: str, parents: Parents, drawn: Mapping[str, Site]) -> Label:
    """A cost as a function of its parents, under the sums of the sites that are summed out."""
    cost, declared = derivation.draft.costs[name], derivation.graph.costs[name]
    summed = [p for p in derivation.site_nodes if p.name not in drawn and Dependence(p.name).any(declared)
              and not derivation.verdicts[p.name].estimator.passes_gradient]
    sums = "".join(braced(rf"\sum_{{{_name(p.name, parents)}}} ") + _of_all_steps(p, parents) + r"\," for p in summed)
    known = parents.of_output(declared if summed else cost)
    inner = f"({_listed(known, parents)})" if known else ""

    def label(converter: Converter, index, at):
        below = ",".join(f"{{{i + 2}}}" for i in range(len(index)))
        head = braced(_name(name, parents)) + (f"_{{{{{below}}}}}" if index else "")
        t = index[0] if stacked(declared) else 0
        return Phrase(sums + head + inner, t, sympy.sympify(t) - 1, *index)

    return label


def _probability(site_node: SiteNode, parents: Parents) -> str:
    """p(site | parents)."""
    given = _listed(_given(site_node, parents), parents)
    shown = parents.names.given(site_node.name)
    own = _listed([Parent(shown, "sample", "" if site_node.scan is None else NOW)], parents)
    return rf"p({own} \mid {given})" if given else f"p({own})"


def _of_all_steps(site_node: SiteNode, parents: Parents) -> str:
    """p(site | parents), for a site inside a scan the product over its steps."""
    p = _probability(site_node, parents)
    return p if site_node.scan is None else braced(r"\prod_{\tau} " + p.format(r"\tau", r"\tau - 1"))


def _given(site_node: SiteNode, parents: Parents) -> list[Parent]:
    return parents.of_site(site_node.node, None if site_node.scan is None else Loop(site_node.scan))


def _score(site: Site, parents: Parents, form: str) -> Label:
    """log p(site | parents), or p/⊥p."""
    p = _probability(site.site_node, parents)
    text = rf"\log {p}" if form == "log" else rf"\frac{{{{{p}}}}}{{{{\bot\left({p}\right)}}}}"
    steps = len(site.steps)
    below = ",".join(f"{{{i + 2}}}" for i in range(len(site.credit)))
    text = rf"{{{{\left({text}\right)}}}}_{{{{{below}}}}}" if below else text

    def label(converter: Converter, index, at):
        t = index[0] if steps and index else 0
        return Phrase(text, t, sympy.sympify(t) - 1, *index[steps:])

    return label


def _name(name: str, parents: Parents) -> str:
    """A name of the user's."""
    return parents.names.latex(parents.names.given(name))


def _listed(given: list[Parent], parents: Parents) -> str:
    """Names with their steps: {0} stands for this step, {1} for the one before."""
    many = len(given) > _MANY
    names = [_in_step(p, parents) for p in ([*given[:3], *given[-2:]] if many else given)]
    return ", ".join([*names[:3], r"\ldots", *names[3:]] if many else names)


def _in_step(p: Parent, parents: Parents) -> str:
    name = braced(parents.names.latex(p.name))
    below = {NOW: "{0}", PREVIOUS: "{1}", EARLIER: "<{0}"}.get(p.when)
    if below is None:
        return name
    return f"{{{{{name}}}}}_{{{{{below}}}}}" if "_" in name else f"{name}_{{{{{below}}}}}"
