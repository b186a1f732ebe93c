"""Functions of a site's draws that stand for its costs: nets of params that the site brings, or the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from scg import nn
from scg.analysis.obstacles import obstacle_text
from scg.analysis.smoothness import flow
from scg.differentiate.reverse_mode import gradients
from scg.errors import ConditionError, EstimatorError, brief
from scg.functions import tanh
from scg.ir.location import here
from scg.ir.node import Node, NodeLike, as_real, constant
from scg.ir.printer import title
from scg.ir.traverse import downstream, substitute, topological
from scg.ops.leaves import feed, placeholder_op
from scg.ops.randomness import sample_op
from scg.ops.scan import begin, last_outputs
from scg.ops.structure import reshape, transpose
from scg.surrogate.mark import Name
from scg.surrogate.site import Site

OF_DRAW, OF_VALUE = Name("c(@)", r"c(@[])"), Name("c(@ ← <value>)", r"c_{@}(@[] \leftarrow <value>)")
SLOPE_AT_DRAW = Name("c′(@)", r"c'_{@[]}(<site>)", "the derivative in @ of <c>")
SLOPE_AT_VALUE = Name("c′(@ ← <value>)", r"c'_{@[]}(<site> \leftarrow <values>)",
                      "the derivative in @ of <c>, where <site> is <value>")
HIDDEN = (Name("W1(@)", r"W_{1,@}", "the weights of the hidden layer of <c>"),
          Name("b1(@)", r"b_{1,@}", "the biases of the hidden layer of <c>"))
LAST = (Name("W2(@)", r"W_{2,@}", "the weights of the last layer of <c>"),
        Name("b2(@)", r"b_{2,@}", "the bias of the last layer of <c>"))
UNITS = 10  # of the hidden layer


class At(NamedTuple):
    """A function and its derivative, at some value."""

    value: Node
    slope: Node


def check_surrogate(estimator: Any, given: Any) -> None:
    """Refuse what can be called on no node; one that can stands for the costs as a whole, whatever draws they weigh.

    Raises
    ------
    EstimatorError
    """
    asked = type(estimator).__name__
    if given is not None and estimator.credit == "elements":
        raise EstimatorError(str(here() or ""), f'{asked}(surrogate=…, credit="elements") was asked for.',
                             "The surrogate is one number, which stands for all costs.",
                             "Leave credit= out; or leave surrogate= out: then there is a number for each signal.")
    if given is not None and not callable(given):
        raise EstimatorError(str(here() or ""), f"{asked}(surrogate={brief(given)}) was asked for.",
                             "It is called with a node like the site's value, and returns a number that stands for the "
                             "costs.", "Give a function: surrogate=lambda x: w @ scg.tanh(x).")


class _Layer:
    """Declares the params of a layer as the site's own, and what they are called in formulas: weights, then biases."""

    def __init__(self, site: Site, names: tuple[Name, ...]):
        self._site, self._names = site, iter(names)

    def param(self, what: str, shape: tuple[int, ...] = (), init: Any = 0.0) -> Node:
        return self._site.param(what, shape, init, next(self._names))


class StandIn:
    """A function c of what stands for the site's draws: a signal, that is worth about as much as the costs.

    Parameters
    ----------
    site : Site
    function : callable, optional
        ``function(x)``, a scalar node of a node of the shape of the site's value. By default a net of the site's own
        params: for each signal one layer of hidden units, of the draws that it weighs, and a last layer that starts
        at 0. Signals share these params, those of all steps of a loop too.
    """

    def __init__(self, site: Site, estimator: Any, function: Callable[[Node], NodeLike] | None):
        self._site, self._estimator = site, estimator
        self._leaf = feed(f"{site.name} (argument)", (*site.steps, *site.shape), site.node.axes)
        self._value = self._net(self._leaf) if function is None else self._given(function)
        found = flow([self._value], [self._leaf], poles=True)[self._value.id].jump
        if found is not None:
            raise ConditionError(site.where, f"The surrogate of {estimator} was to be differentiated in the draws.",
                                 f"On the way stands the {title(found)} at {found.source}, which "
                                 f"{obstacle_text(found)}.", "Make it of smooth functions.")

    def of(self, x: Node) -> Node:
        """c there."""
        return substitute([self._value], {self._leaf: x})[0]

    def at(self, x: Node, said: Name | None = None) -> At:
        """c and ∂c/∂x there; `said` is what x is called in formulas, if it is not the draw."""
        point = self._site.expansion_point(x, [self._value])
        (value,) = substitute([self._value], {self._leaf: point})
        (slope,) = gradients({value.sum(): constant(1.0)}, [point])
        slope = constant(0.0) if slope is None else slope
        value, slope = substitute([value, slope], {point: x})
        site, new = self._site, None if said is None else x
        return At(site.called(OF_DRAW if said is None else OF_VALUE, value, new, said),
                  site.called(SLOPE_AT_DRAW if said is None else SLOPE_AT_VALUE, slope, new, said))

    def _net(self, x: Node) -> Node:
        site, steps = self._site, len(self._site.steps)
        own = [*range(steps), *(steps + d for d in site.credit)]
        order = (*own, *(k for k in range(x.ndim) if k not in own))
        flat = reshape(transpose(x, order), (*site.signal_shape, -1))
        hidden = tanh(nn.dense(_Layer(site, HIDDEN), "surrogate_1", flat, UNITS))
        return nn.dense(_Layer(site, LAST), "surrogate_2", hidden, (), init=0.0)

    def _given(self, function: Callable[[Node], NodeLike]) -> Node:
        """The user's function of the leaf: a number; of each step's draws one, in loops."""
        site = self._site
        if not site.steps:
            return self._checked(self._scalar(function(self._leaf)))
        of_step = begin(site.steps[0], (), [self._leaf])
        node = self._scalar(function(of_step.xs[0]))
        inside = _beside(node, of_step.xs[0])
        arrays = [a for a in map(site.put_out, inside) if a is not None]
        if len(arrays) < len(inside):
            self._refuse("It is made of what is inside the steps of another loop.")
        steps = begin(site.steps[0], (), [self._leaf, *arrays])
        (y,) = substitute([node], dict(zip((of_step.xs[0], *inside), steps.xs)))
        return self._checked(last_outputs(replace(steps, ys=(y,)).close(), 1)[0])

    def _scalar(self, given: NodeLike) -> Node:
        node = as_real(constant(given))
        if node.shape != ():
            self._refuse(f"Its value has shape {node.shape}: it stands for the sum of the costs, a number.")
        if node.owner not in (None, self._site.site_node.anchor.owner):
            self._refuse("Its value is a node of another graph.")
        return node

    def _checked(self, node: Node) -> Node:
        path = self._site.own_sample_path(node)
        if path is not None:
            self._refuse(f"It depends on the site's own draw besides its argument, along "
                         f"{' → '.join(title(n) for n in path)}: what is added back would miss that.")
        return node

    def _refuse(self, why: str) -> None:
        raise EstimatorError(self._site.where, f"{self._estimator} was asked for.", why,
                             "Let it be a scalar node that is made of its argument, of params, inputs and data.")


def _beside(node: Node, x: Node) -> list[Node]:
    """What a function of a step's draws is made of besides them that may have a value of its own in each step."""
    of_x = downstream([x], [node])
    seen = topological([node])
    own = {n.id for n in seen if n.op in (placeholder_op, sample_op) and n is not x}
    varies = downstream([n for n in seen if n.id in own], [node]) - of_x
    used = {a.id for n in seen if n.id not in varies for a in n.args}
    return [n for n in seen if n.id in varies and (n.id in used or n is node)]
