"""One rule for the stationary mean of a chain, in place of estimators for its sites.

In: the chain's transition, what is differentiated with respect to, the rule. Out: the draft, and a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.analysis.influence import SiteNode
from scg.analysis.made_of import MadeOf
from scg.errors import EstimatorError, raise_all
from scg.estimators import Estimator
from scg.ir.node import Node
from scg.surrogate.draft import Draft
from scg.surrogate.rewritten import rewritten
from scg.surrogate.stationary import Stationary
from scg.surrogate.transition import Transition


def build_stationary(transition: Transition, costs: Mapping[str, Node], values: Mapping[str, Node],
                     targets: Mapping[str, Node], site_nodes: Sequence[SiteNode], rule: Estimator,
                     owner) -> tuple[Draft, str, str, frozenset[str]]:
    """The draft that the rule makes, its status and reason, and the sites that do not move, which are only drawn.

    Parameters
    ----------
    transition : Transition
    costs, values, targets : dict of str to Node
        The means of its costs over the horizon, in whose place the rule puts its own; the values of sites, to be
        recorded; what is differentiated with respect to.
    site_nodes : sequence of SiteNode
    rule : Estimator
        One that is `stationary`.
    owner : Graph

    Raises
    ------
    EstimatorError
        If the rule cannot be used.
    """
    below = frozenset[int]().union(*map(MadeOf(), costs.values()))
    reached = {name: node for name, node in targets.items() if node.id in below}
    chain = Stationary(transition, Draft(costs, values=values), reached, site_nodes, owner)
    objection = rule.objection(chain)
    raise_all([] if objection is None else [(EstimatorError, objection)])
    status, reason = rule.verdict(chain)
    moving = {x.attrs.site for x in chain.typical.moving(chain.moves)}
    still = frozenset(x.attrs.site for x in chain.typical.draws) - moving
    return rewritten(rule, chain, ""), status, reason, still
