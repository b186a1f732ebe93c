"""Control variates: their weight, other params that they learn, and the variance that these minimise.

What has the mean 0 may be added to an estimator as often as one likes. How often, and what it is made of, is learned:
the objective is the square of what one replicate contributes to the gradient in the site's own parameters (those of
each step, in a loop), whose mean is the variance and a part that does not move.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from scg.analysis.reach import sum_of
from scg.analysis.stops import looked_through
from scg.errors import EstimatorError, brief
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute
from scg.ops.control import stop_gradient
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name, rewritten
from scg.surrogate.site import Site

ETA = Name("eta(@)", r"\eta_{@}", "the weight of the control variate")


# --- the weight ------------------------------------------------------------------------------------------------------
def check_weight(estimator: str, given: Any) -> None:
    """Refuse a weight that is neither None, nor a finite number, nor a node.

    Raises
    ------
    EstimatorError
    """
    if given is None or isinstance(given, Node):
        return
    if isinstance(given, bool) or not (isinstance(given, Real) and math.isfinite(given)):
        raise EstimatorError(str(here() or ""), f"{estimator}(eta={brief(given)}) was asked for.",
                             "It multiplies the control variate.", "Use a finite number, or a node of your params.")


def weight(site: Site, given: Any) -> Node:
    """η: what was given, or the site's param "eta", which starts at 1."""
    return site.param("eta", init=1.0, said=ETA) if given is None else constant(given)


# --- what is learned -------------------------------------------------------------------------------------------------
def with_variance(site: Site, term: Node, held: Iterable[Node] = (), otherwise: str = "") -> Draft:
    """The site's draft with the term, and beside it the objective of what the term learns: its variance.

    Parameters
    ----------
    site : Site
    term : Node
        In it params of the site's own, as `weight`, have no derivative: what weighs is stopped.
    held : iterable of Node
        What is stopped in the term, and not in the objective, besides.
    otherwise : str
        What would work where the objective cannot be differentiated.
    """
    stopped = {node: stop_gradient(node) for node in held}
    site.marks = rewritten(site.marks, stopped)
    draft = site.draft.with_term(site.name, substitute([term], stopped)[0])
    said = f"the square of what a replicate adds to the gradient in the parameters of the distribution of {site.name}"
    return draft.with_objective(f"{site.name} variance", squared(site, term), otherwise, said)


def squared(site: Site, term: Node) -> Node:
    """The square of a replicate's gradient in the site's parameters, as a function of values: nothing is stopped."""
    return sum_of(g * g for g in looked_through(site.slopes_in_parameters(term)))
