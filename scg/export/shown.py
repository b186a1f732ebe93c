"""What the views of a surrogate share: its sites as they stand in the finished draft, their scores, their credit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from scg.analysis.influence import SiteNode, sites
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.arithmetic import NUMBER, OF_NOISE, stop_gradient_op
from scg.ops.measure import leave_one_out_op
from scg.ops.randomness import sample_op
from scg.ops.scan import of_step, stacked
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Draft
from scg.surrogate.mark import VALUE, Mark
from scg.surrogate.site import Site
from scg.surrogate.site_in_scan import view

_MANY = 8  # names that are listed
STOPPED = "⊥(·): its argument, not differentiated"
REPLICATE = "one run of the graph, with draws of its own"


def views(derivation: Derivation) -> dict[str, Site]:
    """Every site that is still drawn, in the order of the graph."""
    draft = derivation.draft
    found = {site_node.name: site_node for site_node in sites([*draft.costs.values(), *draft.roots()])}
    return {p.name: _view(derivation, found[p.name], draft) for p in derivation.site_nodes if p.name in found}


def _view(derivation: Derivation, site_node: SiteNode, draft: Draft) -> Site:
    site = view(site_node, draft, lambda node: True, derivation.form)
    verdict = derivation.verdicts[site_node.name]
    if verdict.differentiated and verdict.estimator.scope != "graph":
        site.weighing = verdict.estimator.weighing(site)
    return site


def credit(derivation: Derivation) -> dict[str, tuple[str, ...]]:
    """For each site the costs that the terms of its estimator weigh; none where the estimator made no term."""
    with_terms = {t.site for t in derivation.draft.terms}
    known = views(derivation)
    return {p.name: tuple(_credited(derivation, known[p.name])) if p.name in with_terms and p.name in known else ()
            for p in derivation.site_nodes}


def _credited(derivation: Derivation, site: Site) -> Iterator[str]:
    for name in derivation.verdicts[site.name].influenced:
        cost = derivation.draft.costs[name]
        alone = view(site.site_node, Draft({name: cost}), lambda node: True, derivation.form)
        # inside a scan a cost may stand before the site: its credit is then a constant zero
        if alone.influenced and not is_literal(alone.cost):
            yield name


def in_a_few_words(names: Sequence[str]) -> str:
    """A list of names, if it is short; else nothing."""
    return ", ".join(names) if len(names) <= _MANY else ""


def others_of_group(roots: Iterable[Node], rows: bool) -> str:
    """What a leave-one-out mean is, in words."""
    sizes = {n.attrs[0] for n in topological(roots) if n.op is leave_one_out_op}
    size = " or ".join("up to 64" if size is None else str(size) for size in sorted(sizes, key=str))
    size += ", all of one row" if rows else ""
    return f"the mean of its argument over the other replicates of a group of {size}"


def is_shown(mark: Mark) -> bool:
    """Whether the name of a part is written: what is a leaf of the user's goes by its own."""
    return bool(mark.node.args) or mark.brought


def is_stopped(node: Node) -> bool:
    """Whether ⊥ is written: something is stopped that depends on what is differentiated."""
    return node.op is stop_gradient_op and node.attrs in ((), OF_NOISE)


def is_weight(mark: Mark) -> bool:
    """Whether it is a number that an algorithm makes of probabilities: it is held, and no draw, which always are."""
    node = in_step(mark.node)
    return node.op is stop_gradient_op and node.attrs[:1] == NUMBER and mark.name != VALUE


def holds_for_any(mark: Mark) -> bool:
    """Whether what it is made of, beside the value that stands for the draws, is the same whatever that value is."""
    if mark.value is None or mark.said is None or "← <value>" not in mark.name.text:
        return False
    order = topological([mark.node], lambda n: n is mark.value)
    made_of = any(a is mark.value for n in order for a in n.args)
    return made_of and not any(n.op is sample_op and n.attrs.site == mark.site for n in order)


def is_literal(node: Node) -> bool:
    """Whether it is made of numbers only."""
    return all(n.is_const for n in topological([node]) if not n.args)


def held(draft: Draft, sites: Collection[str]) -> str:
    """Whether the gradient goes through draws, in words."""
    if not sites:
        return ""
    paths = any(not _is_draw(value) for value in draft.values.values())
    return "; draws are held" + ", except for those that are said to be functions of these" * paths


def _is_draw(node: Node) -> bool:
    return in_step(node).op is sample_op


def in_step(node: Node) -> Node:
    """What a loop puts out step by step, as it is in a step."""
    while stacked(node):
        node = of_step(node)
    return node


def with_key(lines: Sequence[str]) -> list[str]:
    """Lines of a page, and what a replicate is, if they speak of it."""
    speaks = any(re.search(r"\breplicates?\b", line) for line in lines)
    return [*lines, f"replicate: {REPLICATE}"] if speaks else [*lines]
