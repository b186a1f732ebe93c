"""The doubly reparameterised estimator of bounds: the score of the draw's own density is taken along its path too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from scg.analysis.bounds import Ranges
from scg.analysis.credit import DrawBits, shares
from scg.analysis.dependence import Dependence
from scg.analysis.influence import sites
from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.estimators.pathwise import Pathwise
from scg.functions import softmax, stop_gradient
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute, topological
from scg.ops.arithmetic import stop_gradient_op
from scg.ops.control import is_stop
from scg.ops.leaves import feed
from scg.ops.log_space import summed
from scg.ops.randomness import sample_op
from scg.ops.reduce import total
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Mark, Name
from scg.surrogate.parts import Weighed, linear_ends, weighted
from scg.surrogate.site import Site

PULL = Name("D(@)", r"D_{@[]}", "the derivative in @ of log w, w being the weight of a draw in the bound, times the "
            "square of the share of w in the sum of all weights (s + c s (1 - s) of a share s, where the weights hold "
            "the draw's own density to a power c other than -1), times the factor of the bound in the cost, such as -1")
BOUND = Name("held(@)", r"\mathrm{held}(@)", "@, where draws of which there is a D, and the densities that they are "
             "drawn from, are held within the logarithm of the mean of weights: D is in place of what they would add")
OWN = Name("held(@)", r"\mathrm{held}(@)", "@, where what moves the density that a draw is from is held, except for "
           "the draw itself")


@dataclass(frozen=True)
class DReG(Pathwise):
    """Pathwise; but of costs −log Σₖ wₖ, where wₖ holds the draw's own 1/q(zₖ): − Σₖ zₖ · ⊥(w̃ₖ² ∂log wₖ/∂zₖ).

    The parameters of the own density, as far as they do not move the draw, are stopped there: what they add has the
    mean that a second path has, with which the slopes w̃ₖ ∂log wₖ/∂zₖ become those with w̃ₖ² (w̃ are the weights,
    normalised). Where a cost is linear in log q(z) itself, its mean is 0. All other costs have the slopes of
    `Pathwise`. The bound is a cost ``-scg.logmeanexp(log_w, axis=0)``, with one weight for each draw along an axis of
    the site, and log_w holds ``q.log_prob(z)`` of the distribution that z was drawn from. Several bounds in one array,
    ``-scg.logmeanexp(log_w, axis=1).mean()``, are each made of draws of their own (Rainforth et al. 2018).

    References
    ----------
    Tucker, Lawson, Gu & Maddison 2019; for one sample, Roeder, Wu & Duvenaud 2017.
    """

    requires = ("reparameterise", "log_prob")
    advised = False
    reference = "Tucker, Lawson, Gu & Maddison 2019"

    def rewrite(self, site: Site) -> Draft:
        draft, found = super().rewrite(site), _all_doubled(site)
        new = {name: cost for name, (cost, _) in found.items() if cost is not draft.costs[name]}
        draft = replace(draft, costs={**draft.costs, **new})
        draft = draft.with_marks([Mark(name, BOUND if found[name][1] else OWN, cost, whole=True)
                                  for name, cost in new.items()])
        pulls = [pull for _, pulls in found.values() for pull in pulls]
        if not pulls:
            return draft
        pull = site.called(PULL, stop_gradient(reduce(add, pulls)))
        return draft.with_term(site.name, total(pull * site.node))

    def reason(self, site: Site) -> str:
        twice = any(pulls or cost is not site.influenced[name] for name, (cost, pulls) in _all_doubled(site).items())
        why = ("the score of its own density has the mean of a second path" if twice else
               f"{_why_once(site)}, so it is Pathwise() here")
        return f"{super().reason(site)}; {why}"


def _all_doubled(site: Site) -> dict[str, tuple[Node, list[Node]]]:
    """`_doubled` of the costs; of none where it stands in a loop, or is drawn given another site, which is pulled."""
    if site.steps or sites(list(site.dist.params.values())):
        return {}
    return {name: _doubled(site, cost) for name, cost in site.influenced.items()}


def _why_once(site: Site) -> str:
    """Why no cost is `_doubled`."""
    given = sites(list(site.dist.params.values()))
    if site.steps or given:
        return "it stands in a loop" if site.steps else f'it is drawn given "{given[0].name}"'
    own = site.dist.log_prob(site.node)
    held = any(n is own for n in topological(list(site.influenced.values())))
    return ("what holds its density is no bound of weights that are each made of draws of their own" if held else
            "no bound holds its density")


def _doubled(site: Site, cost: Node) -> tuple[Node, list[Node]]:
    """A cost in which parameters do not move the own density directly, and what the draws are pulled by instead."""
    x, own = site.node, site.dist.log_prob(site.node)
    known = Dependence(site.name)
    ends = linear_ends(cost, lambda n: bool(known.any(n)), lambda n: n is own or summed(n) is not None)
    still = site.family._at({name: stop_gradient(node) for name, node in site.dist.params.items()})
    held = {own: stop_gradient(own), x: stop_gradient(x)}
    mapping: dict[Node, Node] = {}
    pulls: list[Node] = []
    for part in weighted(cost, ends) or ():
        if part.source is own:
            mapping[own] = still.log_prob(x)
            continue
        pull = _pull(site, part, own)
        if pull is not None:
            pulls.append(pull)
            mapping[part.source] = substitute([part.source], held)[0]
    if pulls:  # what keeps exponents small is written alike in both places
        mapping |= {end: substitute([end], held)[0] for end in ends if end.op is stop_gradient_op}
    return substitute([cost], mapping)[0] if mapping else cost, pulls


def _pull(site: Site, part: Weighed, own: Node) -> Node | None:
    """The slope along the draws of a bound, with the score of their own density in it; None if it is no such bound."""
    exponents, axis = summed(part.source) or (None, 0)
    if exponents is None or not _each_its_own(site, exponents):
        return None
    x, known = site.node, Dependence(site.name)
    if any(known.any(n) for n in topological([exponents]) if (n.op is sample_op and n is not x) or is_stop(n)):
        return None  # something is drawn given it, or hides how the weights move with it
    density = feed(f"{site.name} (own density)", own.shape, own.axes)
    (slope,) = gradients({sum_of(substitute([exponents], {own: density})): constant(1.0)}, [density])
    if slope is None:
        return None
    low, high, *_ = Ranges()(slope)
    if low != high:
        return None
    share = softmax(exponents, axis=axis)
    weights = share + low * share * (1.0 - share)
    if part.weight is not None:
        bounds = tuple(1 if d == axis else size for d, size in enumerate(exponents.shape))
        weights = weights * reshape(broadcast_to(part.weight, part.source.shape), bounds)
    weights = stop_gradient(weights)
    point = feed(f"{site.name} (expansion point)", x.shape, exponents.axes)
    (pull,) = gradients({sum_of([weights * substitute([exponents], {x: point})[0]]): constant(1.0)}, [point],
                        ("row", "lane"))
    if pull is None:
        return None
    return substitute([pull], {point: x})[0]


def _each_its_own(site: Site, exponents: Node) -> bool:
    """Whether the exponents at each index are made of the draws of that index along a dimension of the site's."""
    if not DrawBits.fit(site.draws):
        return False
    bits = DrawBits(site.draws, site.shape)
    sets = bits.dependence(site.name)(exponents)
    found = [share for d in range(len(site.draws))
             for share in shares(sets, exponents.shape, bits, (d,), alone=True).shares]
    apart = {share.at for share in found if share.which is None}
    return all(size == 1 or d in apart for d, size in enumerate(exponents.shape))
