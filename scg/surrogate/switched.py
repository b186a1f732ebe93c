"""A transition with one draw replaced by either value of a weak derivative: where phantom chains begin.

The derivative of a transition is Σₖ ∂ηₖ cₖ (E[f(w⁺ₖ)] − E[f(w⁻ₖ)]), over all draws and all terms of their weak
derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scg.ir.axes import Axis
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute
from scg.ops.arithmetic import choose
from scg.ops.leaves import derived
from scg.ops.measure import axis_to_event
from scg.ops.randomness import distribution_of
from scg.ops.reduce import total
from scg.ops.structure import broadcast_to, concatenate, reshape
from scg.surrogate.replacement import draws_of
from scg.surrogate.transition import Moved


@dataclass(frozen=True)
class Switch:
    """A term of the weak derivative of a site: eta and coefficient (terms, *draws), two values (terms, *shape)."""

    draw: Node
    eta: Node
    coefficient: Node
    plus: Node
    minus: Node

    @property
    def size(self) -> int:
        """How many pairs of values it stands for."""
        return self.eta.size


class Switched:
    """The switches of a transition, one after another: those whose eta moves with what is differentiated.

    Parameters
    ----------
    moved : Moved
        The transition as it is drawn.
    moves : callable
        Whether a derivative flows into a node.
    state : sequence of Node
        From which the transition is.

    Attributes
    ----------
    finite : list of Node
        What is finite where the parameters of the draws are, which is checked: these, and the state.
    """

    def __init__(self, moved: Moved, moves: Callable[[Node], bool], state: Sequence[Node]):
        self.moved = moved
        self.finite = [*state, *(p for x in moved.draws for p in distribution_of(x).params.values())]
        self.switches = [s for x in moved.moving(moves) for s in _of_draw(x) if moves(s.eta)]

    @cached_property
    def size(self) -> int:
        """How many pairs of values there are."""
        return sum(s.size for s in self.switches)

    def joined(self, of: Callable[[Switch], Node]) -> Node:
        """A quantity of each pair of values, (size,)."""
        return concatenate([reshape(broadcast_to(of(s), s.eta.shape), (s.size,)) for s in self.switches])

    def parted(self, node: Node) -> list[Node]:
        """What `joined` was made of, by switch."""
        ends = np.cumsum([s.size for s in self.switches])
        return [reshape(node[int(end) - s.size : int(end)], s.eta.shape) for s, end in zip(self.switches, ends)]

    def phantoms(self, picked: Node) -> tuple[Moved, Moved]:
        """The transition with the draw that is picked replaced by w⁺, and by w⁻; later draws have their own noise.

        Parameters
        ----------
        picked : Node
            (size,): 1 for one pair of values, 0 for all others.
        """
        parts = self.parted(picked)
        return self._with(parts, lambda s: s.plus), self._with(parts, lambda s: s.minus)

    def _with(self, parts: Sequence[Node], value: Callable[[Switch], Node]) -> Moved:
        new: dict[Node, Node] = {}
        for x in self.moved.draws:
            anew = substitute([x], new)[0]
            for s, hot in zip(self.switches, parts):
                if s.draw is x:
                    at = reshape(hot, (*hot.shape, *(1,) * (x.ndim + 1 - hot.ndim)))
                    anew = choose(total(at, axis=0) > 0.5, total(at * value(s), axis=0), anew)
            new[x] = anew
        return self.moved.with_nodes(substitute(self.moved.nodes, new))


def _of_draw(x: Node) -> list[Switch]:
    found, draws = [], draws_of(x)
    for k, triple in enumerate(distribution_of(x).weak_derivative()):
        noise = derived(x.args[-1], f"weak derivative {k}")

        def led(node, shape: tuple[int, ...], axis: Axis | None = triple.along) -> Node:
            node = constant(node)
            if axis is None:
                return reshape(broadcast_to(node, shape), (1, *shape))
            if axis not in node.axes:
                return broadcast_to(reshape(broadcast_to(node, shape), (1, *shape)), (axis.size, *shape))
            return axis_to_event(broadcast_to(node, shape), axis)

        found.append(Switch(x, led(triple.eta, draws), led(triple.coefficient, draws),
                            led(triple.plus(x, noise), x.shape), led(triple.minus(x, noise), x.shape)))
    return found
