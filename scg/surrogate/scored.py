"""Chains whose draws are scored: what weighs the gradients of their log-probabilities with later costs."""

from __future__ import annotations

from scg.errors import Problem
from scg.ops.randomness import distribution_of
from scg.surrogate.stationary import Stationary


def objection(chain: Stationary, asked: str) -> Problem | None:
    """Why the draws of the chain's transition cannot be scored, or None."""
    for x in chain.typical.draws:
        dist, family = distribution_of(x), x.attrs.family
        moving = [name for name, p in dist.params.items() if chain.moves(p)]
        ends = [name for name in moving if name in family.support.moving]
        if moving and not family.can("log_prob"):
            return Problem(chain.site_where(x), asked, f"{family.__name__} has no log-probability.",
                           "Use SPWD(), WeakDerivative() or SPSA().")
        if ends:
            return Problem(chain.site_where(x), asked, f"The support of {family.__name__} is {family.support.text}, "
                           f"and {' and '.join(map(dist.called, ends))} {'depends' if len(ends) == 1 else 'depend'} "
                           "on what is differentiated: the score misses what a moving bound contributes.",
                           "Use SPWD(), WeakDerivative() or SPSA().")
    return chain.carried_by_path()
