"""One rule rewrites a whole graph, in place of estimators for its sites.

In: the costs, what is differentiated with respect to, the rule. Out: the draft, and a verdict per site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scg.analysis.influence import SiteNode, sites
from scg.analysis.integers import index_checks
from scg.analysis.made_of import MadeOf
from scg.errors import EstimatorError, raise_all
from scg.estimators import Estimator
from scg.ir.node import Node
from scg.ops.measure import in_one_size
from scg.surrogate.domains import domain_checks
from scg.surrogate.draft import Draft
from scg.surrogate.edges import settled
from scg.surrogate.rewritten import rewritten
from scg.surrogate.whole_graph import Whole


def build_whole(costs: Mapping[str, Node], values: Mapping[str, Node], targets: Mapping[str, Node],
                site_nodes: Sequence[SiteNode], estimator: Estimator, owner) -> tuple[Draft, str, str]:
    """The draft that the rule makes, and its status and reason.

    Parameters
    ----------
    costs, values, targets : dict of str to Node
        Costs; the values of sites, to be recorded; what is differentiated with respect to.
    site_nodes : sequence of SiteNode
    estimator : Estimator
        Of scope ``"graph"``.
    owner : Graph

    Raises
    ------
    EstimatorError
        If the rule cannot be used.
    """
    checks = domain_checks(costs, site_nodes) + index_checks(list(costs.values()))
    below = frozenset[int]().union(*map(MadeOf(), costs.values()))
    moving = {name: node for name, node in targets.items() if node.id in below}
    whole = Whole(Draft(costs, values=values, checks=checks), moving, site_nodes, owner)
    objection = estimator.objection(whole)
    raise_all([] if objection is None else [(EstimatorError, objection)])
    status, reason = estimator.verdict(whole)
    draft = rewritten(estimator, whole, "")
    draft = draft.with_roots(in_one_size(draft.roots()))
    draft = replace(draft, checks=settled(draft.checks, list(targets.values())))
    known = {site_node.name for site_node in site_nodes}
    beside = [site_node for site_node in sites(draft.roots()) if site_node.name not in known]
    return draft.with_checks(domain_checks(costs, beside)), status, reason
