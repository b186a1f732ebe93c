"""What the terms of a weak derivative are of."""

from __future__ import annotations

from scg.analysis.smoothness import flow
from scg.distributions.distribution import Distribution
from scg.ir.node import constant
from scg.ops.leaves import feed


def moved_by_triples(dist: Distribution) -> set[str] | None:
    """Parameters by whose derivative some triple is multiplied; None if there are no triples: the derivative is 0.

    The triples are asked for at leaves that stand for the parameters: two of them may be given by one node.
    """
    leaves = {name: node if node.is_const else feed(name, node.shape) for name, node in dist.params.items()}
    etas = [constant(triple.eta) for triple in dist.family._at(leaves).weak_derivative()]
    if not etas:
        return None
    return {name for name, leaf in leaves.items() if any(flow([eta], [leaf])[eta.id].differentiated for eta in etas)}
