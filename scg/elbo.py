"""The negative evidence bound of a model and a guide, as costs of a graph: one for each part that weighs on its own.

    F = E_q[Σ log q(z | …) − Σ log p(z | …) − Σ log p(x | …)]

A divergence KL(q(z) ‖ p(z)) stands in the place of a site's two parts where it has a closed form and what p is made of
is not made of z; else −H(q(z)), where that has one, in the place of log q(z). Both are means over z given what z is
drawn given, so no expectation changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.dependence import Dependence
from scg.distributions.distribution import Distribution, has_divergence, kl_divergence
from scg.errors import DeclarationError, ShapeError
from scg.ir.axes import ROW
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant
from scg.ir.signed import signed
from scg.ops.structure import broadcast_to


class Drawn(NamedTuple):
    """A site of the guide: its distribution, and its draws."""

    dist: Distribution
    value: Node

    @property
    def draws(self) -> tuple[int, ...]:
        """Their shape, without the dimensions of one draw."""
        return self.dist.draws(self.value)


class Guide:
    """What a guide is called with: `sample` declares a site of the graph."""

    def __init__(self, graph: Any):
        self._graph = graph
        self.drawn: dict[str, Drawn] = {}

    def sample(self, name: str, dist: Distribution, shape: Any = None, estimator: Any = None,
               per_row: bool = False) -> Node:
        """A latent variable, drawn from the guide's distribution: see `Graph.sample`."""
        value = self._graph.sample(name, dist, shape=shape, estimator=estimator, per_row=per_row)
        self.drawn[name] = Drawn(dist, value)
        return value


class Model:
    """What a model is called with: `sample` gives what the guide drew, `observe` takes what is known."""

    def __init__(self, drawn: dict[str, Drawn]):
        self._drawn = drawn
        self.priors: dict[str, Distribution] = {}
        self.observed: dict[str, Node] = {}

    def sample(self, name: str, dist: Distribution) -> Node:
        """A latent variable, which the model draws from this distribution."""
        if name not in self._drawn:
            raise DeclarationError(str(here() or ""), f'The model draws "{name}".', "The guide does not.",
                                   f"The guide draws: {', '.join(self._drawn) or 'nothing'}. What is known is "
                                   "observed: observe(name, dist, value).")
        self._new(name, dist)
        self.priors[name] = dist
        return self._drawn[name].value

    def observe(self, name: str, dist: Distribution, value: Any) -> Node:
        """Data, or what else is known, which the model draws from this distribution."""
        self._new(name, dist)
        value = as_real(constant(value))
        self.observed[name] = dist.log_prob(value)
        return value

    def _new(self, name: str, dist: Distribution) -> None:
        if not isinstance(dist, Distribution):
            raise DeclarationError(str(here() or ""), f'The model gives {dist!r} for "{name}".',
                                   "That is not a distribution.", "Give one, e.g. scg.Normal(0.0, 1.0).")
        if name in self.priors or name in self.observed:
            raise DeclarationError(str(here() or ""), f'The model draws "{name}" a second time.',
                                   "Every variable has one distribution.", "Choose another name.")


@signed
def elbo(graph: Any, model: Callable[[Model], Any], guide: Callable[[Guide], Any], *, scale: Any = 1.0,
         closed_form: bool = True) -> dict[str, Node]:
    """Declare the negative evidence lower bound, E_q[log q(z) − log p(x, z)], as costs, a few for each variable.

    Parameters
    ----------
    graph : Graph
        Where sites and costs are declared.
    model : callable
        ``model(p)`` calls ``p.sample(name, dist)``, which returns what the guide drew under that name, and
        ``p.observe(name, dist, value)``.
    guide : callable
        ``guide(q)`` calls ``q.sample(name, dist)``, with what else `Graph.sample` takes, for each latent variable.
    scale : float, array or Node
        Multiplies the costs of variables of which each row has its own: the number of rows of the data set, where a
        call sees a minibatch of them; or element by element a mask, of what is there. The costs of a variable that the
        rows share count once.
    closed_form : bool
        Whether to take divergences and entropies in closed form where they are known.

    Returns
    -------
    dict of str to Node
        The costs: "z kl"; or "z prior", and "z entropy", or "z guide" where the entropy is not known; and
        "x likelihood".
    """
    wrong = [x for x, fits in ((graph, callable(getattr(graph, "cost", None))), (model, callable(model)),
                               (guide, callable(guide))) if not fits]
    if wrong:
        raise DeclarationError(str(here() or ""), f"scg.elbo was given {wrong[0]!r:.60}.",
                               "It takes a graph, and the model and the guide as functions.",
                               "Call it as scg.elbo(g, model, guide), with model(p) and guide(q).")
    q = Guide(graph)
    guide(q)
    p = Model(q.drawn)
    model(p)
    left = [name for name in q.drawn if name not in p.priors]
    if left or not (p.observed or p.priors):
        raise DeclarationError(str(here() or ""), f"The guide draws {' and '.join(map(repr, left)) or 'nothing'}.",
                               "The model says nothing of it." if left else "The model draws and observes nothing.",
                               "Let the model call p.sample(name, dist), or p.observe(name, dist, value).")
    costs: dict[str, Node] = {}
    for name, drawn in q.drawn.items():
        parts = _of_site(name, drawn, p.priors[name], bool(closed_form))
        costs |= {what: _scaled(graph, what, node, scale, drawn.value) for what, node in parts.items()}
    for name, log_p in p.observed.items():
        costs[f"{name} likelihood"] = _scaled(graph, f"{name} likelihood", -log_p, scale, log_p)
    return costs


def _scaled(graph: Any, name: str, node: Node, scale: Any, variable: Node) -> Node:
    """The cost, declared: of what every row has its own of, there is one for each row of the data set."""
    by_row = ROW in node.axes or ROW in variable.axes
    return graph.cost(name, node, scale=scale if by_row else 1.0)


def _of_site(name: str, drawn: Drawn, prior: Distribution, closed_form: bool) -> dict[str, Node]:
    """What a latent variable costs, in parts."""
    _check_shape(name, drawn, prior)
    q, value = drawn.dist, drawn.value
    known = Dependence(name)
    if closed_form and has_divergence(q, prior) and not any(known.any(x) for x in prior.params.values()):
        return {f"{name} kl": broadcast_to(kl_divergence(q, prior), drawn.draws)}
    of_guide = ({f"{name} entropy": -broadcast_to(q.entropy(), drawn.draws)} if closed_form and q.able("entropy") else
                {f"{name} guide": q.log_prob(value)})
    return {**of_guide, f"{name} prior": -prior.log_prob(value)}


def _check_shape(name: str, drawn: Drawn, prior: Distribution) -> None:
    """Refuse a distribution of the model that is one of more variables than the guide draws."""
    try:
        fits = np.broadcast_shapes(prior.batch_shape, drawn.draws) == drawn.draws
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(str(here() or ""), f'The guide draws "{name}" in shape {drawn.draws}.',
                         f"The model's distribution of it has shape {prior.batch_shape}.",
                         "Give both the same shape; shape= of q.sample draws several.")
