"""The contract of a family, and the registries of families and of Kullback–Leibler divergences.

Everything a family knows is a method written in nodes, so that the same text is differentiated, shown as sympy and
compiled. A capability is there if its method is: `reparameterise`, `weak_derivative`, `support_values`, `breaks`,
`mean`, `entropy`. Names of families and parameters, and their meanings, are those of torch.distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scg.distributions.constraints import Constraint, Support
from scg.errors import CapabilityError, DeclarationError, EstimatorError, ShapeError
from scg.ir.location import here
from scg.ir.node import Node, apply, as_real, constant
from scg.ir.printer import short
from scg.ir.registry import Registry

FAMILIES: Registry[type[Distribution]] = Registry("family")
_divergences: dict[tuple[type, type], Callable] = {}


@dataclass(frozen=True)
class Triple:
    """One term of a weak derivative: ∂E[f] = Σ ∂eta · c · (E[f(plus)] − E[f(minus)]).

    Parameters
    ----------
    eta : Node
        The parameter (or function of parameters) whose derivative multiplies the difference.
    coefficient : Node or float
        c, per draw.
    plus, minus : callable
        ``(x, noise) -> value``: the two values, from the drawn value and a fresh stream. Given the same stream they
        are coupled, given two they are independent.
    """

    eta: Node
    coefficient: Node | float
    plus: Callable[[Node, Node], Any]
    minus: Callable[[Node, Node], Any]


class Distribution:
    """A family at its parameters. Subclasses are families; they are registered by being defined.

    Class attributes
    ----------------
    parameters : dict of str to Constraint
    forms : tuple of tuples of str
        The sets of parameters that the family can be given by; one set of all by default.
    support : Support
    edges : dict of str to tuple of float
        Values of parameters at which a value has probability 0 and, if the parameter moves, a derivative that is not.
        It is never drawn there, so what multiplies the score misses its part of the gradient.
    cases : list of dict
        Parameter values at which the laws try the family.
    """

    parameters: ClassVar[dict[str, Constraint]] = {}
    forms: ClassVar[tuple[tuple[str, ...], ...]] = ()
    support: ClassVar[Support]
    edges: ClassVar[dict[str, tuple[float, ...]]] = {}
    cases: ClassVar[list[dict]] = []
    params: dict[str, Node]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.forms = cls.forms or (tuple(cls.parameters),)
        FAMILIES.add(cls.__name__, cls)

    def __init__(self, *unnamed, **given):
        if unnamed:
            raise DeclarationError(
                str(here() or ""), f"{type(self).__name__} was given {len(unnamed)} parameter(s) without a name.",
                "Families have several sets of parameters, so each is given by name.",
                f"Give it {self._options()}.")  # fmt: skip
        form = next((f for f in self.forms if set(f) == set(given)), None)
        if form is None:
            raise DeclarationError(
                str(here() or ""), f"{type(self).__name__} was given {', '.join(given) or 'no parameters'}.",
                "These do not determine it.", f"Give it {self._options()}.")  # fmt: skip
        self.params = {name: as_real(constant(given[name])) for name in form}
        for name, node in self.params.items():
            self._check(name, node)
        _ = self.batch_shape
        self._check_together()

    @classmethod
    def _options(cls) -> str:
        return " or ".join(", ".join(f"{name}=" for name in f) for f in cls.forms)

    @classmethod
    def _at(cls, params: dict[str, Node]):
        dist = object.__new__(cls)
        dist.params = params
        return dist

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["params"][name]
        except KeyError:
            family = type(self).__name__
            raise CapabilityError(str(here() or ""), f"{family}.{name} was asked for.",
                                  f"{family} has no parameter or capability of that name.",
                                  f"It has: {', '.join(self._offers())}.") from None

    def _offers(self) -> list[str]:
        able = [name for name in ("log_prob", "mean", "variance", "entropy") if self.can(name)]
        return [*self.__dict__.get("params", ()), *able]

    def _check(self, name: str, node: Node) -> None:
        constraint = self.parameters[name]
        if node.ndim < constraint.event_ndim:
            raise ShapeError(str(here() or ""), f"{type(self).__name__} was given {name} of shape {node.shape}.",
                             f"It must be {constraint.text}.", "Give it a vector.")
        if 0 in node.shape[node.ndim - constraint.event_ndim:]:
            raise ShapeError(str(here() or ""), f"{type(self).__name__} was given {name} of shape {node.shape}.",
                             "One value would have no elements.", "Give it a last dimension of 1 or more.")
        if node.op.name != "const":
            return
        finite = bool(np.all(np.isfinite(node.attrs.array)))
        if not (finite and np.all(constraint.test(node.attrs.array))):
            raise DeclarationError(
                str(here() or ""), f"{type(self).__name__} was given {name} = {short(node)}.",
                f"It must be {constraint.text}{'' if finite else ', and finite'}.",
                constraint.advice or "Give finite numbers.")

    def _check_together(self) -> None:
        for text, condition in self.conditions():
            literals = [a.attrs.array for a in condition.args if a.op.name == "const"]
            if len(literals) == len(condition.args) and not np.all(condition.op.value(*literals)):
                given = " and ".join(f"{name} = {short(node)}" for name, node in self.params.items())
                raise DeclarationError(str(here() or ""), f"{type(self).__name__} was given {given}.",
                                       f"It needs {text}.", "Give values for which that holds.")

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of one draw for each element of the broadcast parameters."""
        shapes = []
        for name, node in self.params.items():
            trailing = self.parameters[name].event_ndim
            shapes.append(node.shape[: node.ndim - trailing])
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise ShapeError(
                str(here() or ""), f"{type(self).__name__} was given parameters of shapes "
                f"{', '.join(str(n.shape) for n in self.params.values())}.",
                "They cannot be broadcast together.", "Reshape one of them.") from None  # fmt: skip

    # --- what every family has --------------------------------------------------------------------------------------
    def log_prob(self, value) -> Node:
        """Log of the density, or of the probability, of each draw."""
        raise NotImplementedError

    def probability(self, value) -> Node:
        """The probability of each draw of a discrete family, with its derivative also where it is 0."""
        return apply("exp", self.log_prob(value))

    def sample(self, noise: Node) -> Node:
        """The draw as a function of its noise stream."""
        raise NotImplementedError

    def drew(self, value: Node) -> bool:
        """Whether the value is a draw of this very distribution, and so lies in its support."""
        value = _unstopped(value)
        if value.op.name != "sample" or value.attrs.family is not type(self):
            return False
        given = {name: _unstopped(node) for name, node in zip(value.attrs.names, value.args[:-1])}
        own = {name: _unstopped(node) for name, node in self.params.items()}
        return given.keys() == own.keys() and all(node is given[name] for name, node in own.items())

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """Functions of its own draw `x` that the noise of the draw gives without the rounding of `x`.

        Each is written as `log_prob` writes it. Where it occurs, in densities, scores, or the user's own expressions,
        the value on the right stands in its place: a draw about 1e8 has lost digits that its standardised form has.
        """
        return {}

    def conditions(self) -> list[tuple[str, Node]]:
        """What must hold between parameters, in words and as comparisons of them: ``("low < high", low < high)``."""
        return []

    # --- capabilities -----------------------------------------------------------------------------------------------
    def support_values(self) -> Any:
        """All values, if they are finitely many and known."""
        return None

    @classmethod
    def can(cls, capability: str) -> bool:
        """Whether the family has the capability: a method or property of that name."""
        own = getattr(cls, capability, None)
        return own is not None and own is not getattr(Distribution, capability, None)

    def __repr__(self) -> str:
        from scg.ir.printer import title

        inner = ", ".join(f"{name}={title(node) or node!r}" for name, node in self.params.items())
        return f"{type(self).__name__}({inner})"


def _unstopped(node: Node) -> Node:
    """The node that has the value: ⊥x is x."""
    while node.op.name == "stop_gradient":
        node = node.args[0]
    return node


def divergence(p: type, q: type):
    """Register ``KL(p ‖ q)`` for two families; it stands in the file of the left one."""

    def decorate(function):
        _divergences[p, q] = function
        return function

    return decorate


def kl_divergence(p: Distribution, q: Distribution) -> Node:
    """KL(p ‖ q) per draw, in closed form.

    Raises
    ------
    EstimatorError
        If no closed form is known for the pair.
    """
    rule = _divergences.get((type(p), type(q)))
    if rule is None:
        known: Sequence[str] = [f"{a.__name__}‖{b.__name__}" for a, b in _divergences]
        raise EstimatorError(
            str(here() or ""), f"KL({type(p).__name__} ‖ {type(q).__name__}) was asked for.",
            "No closed form is known for this pair.",
            f"Use p.log_prob(x) - q.log_prob(x) at a sample x of p, or one of: {', '.join(known)}.")  # fmt: skip
    return rule(p, q)
