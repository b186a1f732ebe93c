"""Which rules could be used of a chain, in words: errors of others name them."""

from __future__ import annotations

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.leaves import placeholder_op
from scg.ops.randomness import distribution_of, sample_op
from scg.surrogate.scored import objection
from scg.surrogate.stationary import Stationary

PATHWISE = "Pathwise() where the costs and the state are continuous in all draws"


def has_paths(chain: Stationary) -> bool:
    """Whether every draw of a step that could move has a path."""
    return all(_has_path(x) or not _can_move(chain, x) for x in chain.typical.draws)


def without_phantoms(chain: Stationary) -> str:
    """The rules that need no phantoms, as far as they fit the chain's draws."""
    found = [PATHWISE] if has_paths(chain) else []
    if objection(chain, "") is None:
        found.append("LikelihoodRatio(), which needs densities alone")
    return ", or ".join(found) or "SPSA()"


def _has_path(x: Node) -> bool:
    return x.attrs.family.can("reparameterise") and not x.attrs.family.support.integral


def _can_move(chain: Stationary, x: Node) -> bool:
    """Whether its distribution moves with the params, or with the state or a draw, which may."""
    below = topological(list(distribution_of(x).params.values()))
    moving = {leaf.id for leaf in chain.leaves}
    return any(n.op in (sample_op, placeholder_op) or n.id in moving for n in below)
