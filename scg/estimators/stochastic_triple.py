"""Stochastic triples: one draw is moved to a neighbouring value, and the costs are compared."""

from __future__ import annotations

from dataclasses import dataclass

from scg.distributions.distribution import Distribution
from scg.estimators.estimator import Estimator
from scg.ir.node import Node
from scg.ops.arithmetic import choose
from scg.ops.control import as_number, stop_gradient
from scg.ops.reduce import total
from scg.ops.structure import broadcast_to
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.one_draw import Picked
from scg.surrogate.site import Site

SHARE = Name("eta(@)", r"\eta_{@[]}")
DIRECTION = Name("d(@)", r"d_{@[]}", "1, -1 or 0 for each value of @: so many times "
                 "its probabilities add up to what moves as @ does")
PICKED = Name("picked(@)", r"\delta_{@[]}", "1 where @ is the picked element, and else 0; an element is picked with a "
              "chance in proportion to its rate")


def _moved(picked: Picked) -> Name:
    """What the draws are called of which one of each group is moved."""
    if picked.among > 1:
        which = "the picked one of those that have the same costs," if picked.site.credit else "the picked one,"
        return Name("@*", "@[]^{*}", f"@ with one of its elements, {which} moved to a neighbouring value")
    return Name("@*", "@[]^{*}", f"@ moved to a neighbouring value{_apart(picked, ', each element by itself')}")


def _rate(picked: Picked) -> Name:
    """What the rate is called at which one of a group moves."""
    if picked.among > 1:
        return Name("W(@)", "W_{@[]}", "the rates at which the elements of @ move to a neighbouring value as the "
                    "parameter that stands in the sum grows, added up; 0 where none does")
    return Name("W(@)", "W_{@[]}", "the rate at which @ moves to a neighbouring value as the parameter that it is "
                f"multiplied with grows{_apart(picked, ', for each element its own')}; 0 where it does not")


def _apart(picked: Picked, words: str) -> str:
    """Words of a site of several draws."""
    return words if picked.site.draws else ""


@dataclass(frozen=True)
class StochasticTriple(Estimator):
    """+ η(x) · ⊥(W (Q(x′) − Q(x))): x′ is x with one draw moved, of those that share a signal, W their rate together.

    A family's coupling says which value a draw is moved to as its parameter moves, with which rate w, so that ∂E[f] =
    E[∂η w (f(x′) − f(x))]. Of several draws one is picked with probability w/W (pruning): two runs do for any number of
    draws. Later sites are replayed under their own noise. The direction in which parameters move is not known to a
    gradient, so that couplings are those which are right for both.

    References
    ----------
    Arya, Schauer, Schäfer & Rackauckas 2022.
    """

    requires = ("coupling",)
    joint = True
    advised = False
    evaluations = "2"
    reference = "Arya, Schauer, Schäfer & Rackauckas 2022"

    def misses_at_edges(self, site: Site) -> bool:
        return site.dist.coupling(site.node).by_chance

    def rewrite(self, site: Site) -> Draft:
        picked = Picked(site, lambda dist, x: dist.coupling(x).weight)

        def moved(dist: Distribution, x: Node) -> Node:
            return choose(picked.of_value(dist, x), stop_gradient(dist.coupling(x).to), x)

        gap = site.replay(lambda dist, x: site.possible(dist, moved(dist, x), x), _moved(picked))
        gap = stop_gradient(gap) - stop_gradient(site.replay(lambda dist, x: x))
        eta = site.called(SHARE, _share(site))
        if picked.among > 1:
            eta = eta * site.called(PICKED, site.of(picked.mark))
        term = site.per_signal(eta) * (site.called(_rate(picked), picked.sum) * gap)
        return site.draft.with_term(site.name, term.sum())

    def reason(self, site: Site) -> str:
        return "moving draws at these rates moves the distribution as its parameters do; one is picked by its rate"


def _share(site: Site) -> Node:
    """∂eta of each draw."""
    coupling = site.dist.coupling(site.node)
    if coupling.direction is None:
        return site.of(lambda dist, x: dist.coupling(stop_gradient(x)).eta)
    direction = site.called(DIRECTION, site.of_group(lambda dist, x: as_number(
        _of_values(dist.coupling(stop_gradient(x)).direction, site), "d", site.name)))
    return total(direction * site.of_group(lambda dist, x: _of_values(dist.coupling(x).eta, site)), axis=-1)


def _of_values(node: Node, site: Site) -> Node:
    """A quantity of each draw's values."""
    return broadcast_to(node, (*site.draws, node.shape[-1]))
