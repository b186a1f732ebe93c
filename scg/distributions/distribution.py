"""The contract of a family, and the registries of families and of Kullback–Leibler divergences.

Everything a family knows is a method written in nodes, so that the same text is differentiated, shown as sympy and
compiled. A capability is there if its method is: `reparameterise`, `weak_derivative`, `support_values`, `breaks`,
`mean`, `entropy`. Names of families and parameters, and their meanings, are those of torch.distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from scg.distributions.affine import Affine
from scg.distributions.contract import fitted, hold_to_contract, registered
from scg.distributions.masks import Masks
from scg.distributions.ranges import within_ranges
from scg.distributions.refused_uses import SITES, RefusedAsValue
from scg.distributions.signatures import hold_to_signature, ways
from scg.distributions.spoken import Spoken
from scg.errors import CapabilityError, DeclarationError, EstimatorError, ShapeError
from scg.functions import exp
from scg.ir.axes import Axis
from scg.ir.constraints import Constraint, Support
from scg.ir.interval import Interval, exactly
from scg.ir.location import here
from scg.ir.node import Node, NodeLike, as_real, constant
from scg.ir.printer import short
from scg.ir.registry import Registry
from scg.ir.said import said
from scg.ir.signed import signed
from scg.ir.spelling import moved
from scg.ops.measure import event_to_axis

FAMILIES: Registry[type[Distribution]] = Registry("family")
_divergences: dict[tuple[type, type], Callable] = {}


class Family:
    """A family with data of its own: what a site keeps of its distribution besides the parameters.

    It is a value: two of one class and equal data are one family. What it is asked for, such as `support`, the
    distribution without parameters knows.

    Parameters
    ----------
    cls : type
        The subclass of `Distribution`.
    data : hashable
        Its `data`.
    """

    def __init__(self, cls: type[Distribution], data: Hashable):
        self.cls, self.data = cls, data

    @property
    def __name__(self) -> str:
        return self.cls.__name__

    def _at(self, params: dict[str, Node]) -> Distribution:
        dist = self.cls._at(params)
        dist.hold(self.data)
        return dist

    def can(self, capability: str) -> bool:
        """Whether the family has the capability, with this data."""
        return self._bare.able(capability)

    @cached_property
    def _bare(self) -> Distribution:
        return self._at({})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._bare, name)

    def __reduce__(self):
        return Family, (self.cls, self.data)

    def __eq__(self, other) -> bool:
        return isinstance(other, Family) and (self.cls, self.data) == (other.cls, other.data)

    def __hash__(self) -> int:
        return hash((self.cls, self.data))

    def __repr__(self) -> str:
        return self.__name__


class Distribution(RefusedAsValue, Masks, Affine, Spoken):
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
    tail : float
        How fast the density falls where the support has no end: like exp(−|x|^tail), 1 if nothing is said. So
        exponentials of what grows slower than x^tail have means.
    zero_stays : bool
        Whether the density stays 0 as the parameters move, where it is 0 at an end of the support: x^α at 0.
    cases : list of dict
        Parameter values at which the laws try the family.

    Attributes
    ----------
    params : dict of str to Node
    data : hashable
        What else the family is made of; None for most. See `Family`.
    own, within : bool
        Whether all values that it is asked about are its own draws, or in its support, known to be so from elsewhere.
    stated : bool
        Whether it was made by a call, and not for a site, whose parameters are checked there.
    """

    parameters: ClassVar[dict[str, Constraint]] = {}
    forms: ClassVar[tuple[tuple[str, ...], ...]] = ()
    support: ClassVar[Support]
    edges: ClassVar[dict[str, tuple[float, ...]]] = {}
    tail: Any = 1.0
    zero_stays: ClassVar[bool] = False
    cases: ClassVar[list[dict]] = []
    instead: ClassVar[str] = ""  # what else to declare where no estimator passes, as a sentence
    smoother: ClassVar[str] = ""  # how to declare it where costs are to be smooth in draws, in words after "or"
    params: dict[str, Node]
    data: Any = None
    own = within = stated = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "forms" not in vars(cls) and "parameters" in vars(cls):
            cls.forms = (tuple(cls.parameters),)
        hold_to_contract(cls)
        hold_to_signature(cls)
        registered(cls)
        FAMILIES.add(cls.__name__, cls)

    def __init__(self, **parameters: NodeLike | None):
        self._check_class()
        given = {name: value for name, value in parameters.items() if value is not None}
        form = next((f for f in self.forms if set(f) == set(given)), None)
        if form is None:
            raise DeclarationError(
                str(here() or ""), f"{type(self).__name__} was given {', '.join(given) or 'no parameters'}.",
                "These do not determine it.", f"Call it as {ways(type(self))}.")  # fmt: skip
        self.params = {name: as_real(constant(given[name])) for name in form}
        self._check_parameters()

    def _check_class(self) -> None:
        """Refuse to make one of a class that does not say what its parameters or its values are."""
        for what, is_or_are, example in (("parameters", "are", '{"rate": scg.extend.positive}'),
                                         ("support", "is", "scg.extend.real_line")):
            if what not in vars(self) and not any(what in vars(c) for c in type(self).__mro__ if c is not Distribution):
                raise DeclarationError(str(here() or ""), f"{type(self).__name__} was made.",
                                       f"The class does not say what its {what} {is_or_are}.",
                                       f"Write {what} = … in it, as in {what} = {example}.")

    def hold(self, data: Hashable) -> None:
        """Take the data; a family whose parameters or support depend on it sets them here."""
        self.data = data

    def _check_parameters(self) -> None:
        self.stated = True
        for name, node in self.params.items():
            self._check(name, node)
        _ = self.batch_shape, self.event_shape
        self._check_together()

    @property
    def family(self) -> Any:
        """What a site keeps of it besides its parameters: its class, or a `Family` where there is data."""
        return type(self) if self.data is None else Family(type(self), self.data)

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
                                  SITES if name in ("rsample", "draw", "rvs") else
                                  f"It has: {', '.join(self._offers())}.") from None

    def _offers(self) -> list[str]:
        known = [name for name in ("log_prob", "mean", "variance", "entropy") if self.able(name)]
        return [*self.__dict__.get("params", ()), *known]

    def _check(self, name: str, node: Node) -> None:
        constraint = self.parameters[name]
        if node.ndim < constraint.event_ndim:
            raise ShapeError(str(here() or ""), f"{type(self).__name__} was given {name} of shape {node.shape}.",
                             f"It must be {constraint.text}.", "Give it a vector.")
        if 0 in node.shape[node.ndim - constraint.event_ndim:]:
            raise ShapeError(str(here() or ""), f"{type(self).__name__} was given {name} of shape {node.shape}.",
                             "One value would have no elements.", "Give it a last dimension of 1 or more.")
        if not node.is_const:
            return
        array = node.attrs.array
        finite = not constraint.finite or bool(np.all(np.isfinite(array)))
        if not (finite and np.all(constraint.test(array))):
            raise DeclarationError(
                str(here() or ""), f"{type(self).__name__} was given {name} = {short(node)}.",
                f"It must be {constraint.text}{'' if finite else ', and finite'}.",
                (not np.any(np.isnan(array)) and constraint.infinite) or constraint.advice or "Give finite numbers.")

    def _check_together(self) -> None:
        for text, condition in self.conditions():
            literals = [a.attrs.array for a in condition.args if a.is_const]
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
        return self._together(shapes, "They cannot be broadcast together.")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one draw: () for numbers; of vectors by default that of the parameters that are vectors too."""
        count = self.support.event_ndim
        parts = [node.shape[node.ndim - count:] for name, node in self.params.items()
                 if count and self.parameters[name].event_ndim == count]
        return self._together(parts, "Their last dimensions are those of one draw, and differ.")

    def _together(self, shapes: Sequence[tuple[int, ...]], why: str) -> tuple[int, ...]:
        """What parts of the parameters' shapes broadcast to."""
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise ShapeError(
                str(here() or ""), f"{type(self).__name__} was given parameters of shapes "
                f"{', '.join(str(n.shape) for n in self.params.values())}.", why, "Reshape one of them.") from None

    @property
    def dimensions(self) -> int:
        """In how many directions one draw can move: over so many its `quadrature` runs."""
        return int(np.prod(self.event_shape, dtype=int))

    def draws(self, value: Node) -> tuple[int, ...]:
        """The shape of the draws that a value consists of: its own without that of one draw."""
        event = self.event_shape
        if value.shape[value.ndim - len(event):] != event or value.ndim < len(event):
            name, sizes = type(self).__name__, ", ".join(map(str, event))
            raise ShapeError(str(here() or ""), f"{name} was asked about a value of shape {value.shape}.",
                             f"One draw has shape {event}.", f"Give it a value of shape (…, {sizes}).")
        return value.shape[: value.ndim - len(event)]

    # --- what every family has --------------------------------------------------------------------------------------
    def log_prob(self, value) -> Node:
        """Log of the density, or of the probability, of each draw."""
        raise NotImplementedError

    def score_form(self, draw: Node) -> Node:
        """log p of a site's own draw, as it is differentiated for its score; its value is not computed."""
        return self.log_prob(draw)

    def probability(self, value) -> Node:
        """The probability of each draw of a discrete family, with its derivative also where it is 0."""
        return exp(self.log_prob(value))

    def values_along(self, axis: Axis) -> Node:
        """The `support_values`, along a world axis of them."""
        return event_to_axis(constant(self.support_values()), axis)

    def probabilities(self, axis: Axis) -> Node:
        """The probability of each of the `support_values`, along a world axis of them."""
        return self.probability(self.values_along(axis))

    def sample(self, noise: Node) -> Node:
        """The draw as a function of its noise stream."""
        raise NotImplementedError

    def drew(self, value: Node) -> bool:
        """Whether the value is made of draws from this very distribution, and so lies in its support."""
        from scg.analysis.support import drawn_from

        return self.own or drawn_from(self, value)

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """Functions of its own draw `x` that the noise of the draw gives without the rounding of `x`.

        Each is written as `log_prob` writes it. Where it occurs, in densities, scores, or the user's own expressions,
        the value on the right stands in its place: a draw about 1e8 has lost digits that its standardised form has.
        """
        return {}

    def end(self, at: float | str) -> Node | None:
        """An end of the support as a node; None if it is infinite."""
        value = constant(getattr(self, at) if isinstance(at, str) else at)
        return None if value.is_const and value.attrs.ask("infinite") else value

    def range(self, parameters: Mapping[str, Interval]) -> Interval:
        """Where the draws lie, given where the parameters do."""
        def interval(at: float | str) -> Interval:
            if isinstance(at, str) and at in parameters:
                return parameters[at]
            return exactly(float(getattr(self, at) if isinstance(at, str) else at))

        low, high = interval(self.support.low).low, interval(self.support.high).high
        return Interval(low, high, self.support.open or np.isinf(low), self.support.open or np.isinf(high))

    def called(self, name: str) -> str:
        """What a message calls the parameter of that name."""
        return name

    @property
    def values_text(self) -> str:
        """Its support, in words."""
        return self.support.text

    @property
    def unlimited(self) -> bool:
        """Whether its values are all real numbers, or all vectors of them."""
        return self.support.everything

    def outside(self, x: Node) -> Node | None:
        """A comparison that holds where x cannot be drawn; None if it is certain that x can be.

        Raises
        ------
        DeclarationError
            If x is a literal outside of the support.
        """
        from scg.analysis.support import outside

        if self.support.everything:
            return None
        found = outside(self, x)
        if found is not None and x.is_const:
            self._check_literal(x)
        return found

    def _check_literal(self, x: Node) -> None:
        low, high = (self.end(at) for at in (self.support.low, self.support.high))
        v = x.attrs.array
        bad = np.isnan(v) | (self.support.integral & (np.floor(v) != v))
        if self.support.jointly is not None and not np.all(self.support.jointly.test(v)):
            raise DeclarationError(
                str(here() or ""), f"The log-probability of {short(x)} under {type(self).__name__} was asked for.",
                f"Its values are {self.values_text}, so it is −∞.", f"Give a value among {self.values_text}.")
        if low is not None and low.is_const:
            bad = bad | (v < low.attrs.array)
        if high is not None and high.is_const:
            bad = bad | (v > high.attrs.array)
        if np.any(bad):
            first = np.broadcast_to(v, bad.shape)[bad].flat[0]
            raise DeclarationError(
                str(here() or ""), f"The log-probability of {first:g} under {type(self).__name__} was asked for.",
                f"Its values are {self.values_text}, so it is −∞.", f"Give a value among {self.values_text}.")

    def conditions(self) -> list[tuple[str, Node]]:
        """What must hold between parameters, in words and as comparisons of them: ``("low < high", low < high)``."""
        return []

    def touches(self) -> bool:
        """Whether the density is not 0 at a finite end of the range, for certain: then 1/x has no mean if that is 0."""
        return False

    def told_apart(self) -> Node | None:
        """A comparison that holds where rounding leaves the differences of draws their digits; None if it always does.

        A weak derivative is made of such differences. A draw of deviation 1e-20 about 1 is 1.
        """
        return None

    # --- capabilities -----------------------------------------------------------------------------------------------
    def support_values(self) -> Any:
        """All values, one after another along a first dimension, if they are finitely many and known."""
        return None

    def able(self, capability: str) -> bool:
        """Whether it has the capability; a family whose capabilities depend on its data says so here."""
        return type(self).can(capability)

    @classmethod
    def can(cls, capability: str) -> bool:
        """Whether the family has the capability: a method or property of that name."""
        own = getattr(cls, capability, None)
        return own is not None and own is not getattr(Distribution, capability, None)


def divergence(p: type, q: type):
    """Register ``KL(p ‖ q)`` for two families; it stands in the file of the left one."""

    def decorate(function):
        _divergences[p, q] = function
        return function

    return decorate


def has_divergence(p: Distribution, q: Distribution) -> bool:
    """Whether KL(p ‖ q) has a closed form here."""
    return (type(p), type(q)) in _divergences


@signed
def kl_divergence(p: Distribution, q: Distribution) -> Node:
    """KL(p ‖ q) per draw, in closed form.

    Raises
    ------
    EstimatorError
        If there is no closed form for the pair here.
    ShapeError
        If they are distributions over different spaces.
    """
    rule = _divergences.get((type(p), type(q)))
    if rule is None:
        known: Sequence[str] = [f"{a.__name__}‖{b.__name__}" for a, b in _divergences]
        raise EstimatorError(
            str(here() or ""), f"KL({type(p).__name__} ‖ {type(q).__name__}) was asked for.",
            "scg has no closed form for this pair.",
            f"Use p.log_prob(x) - q.log_prob(x) at a sample x of p, or one of: {', '.join(known)}.")  # fmt: skip
    _refuse_other_space(p, q)
    found = fitted(p, "kl_divergence", rule(p, q), np.broadcast_shapes(p.batch_shape, q.batch_shape))
    (left, mine), (right, others) = p.as_called(), q.as_called()
    return said(within_ranges(found, p, q), f"kl_divergence({left}, {moved(right, len(mine))})", *mine, *others)


def _refuse_other_space(p: Distribution, q: Distribution) -> None:
    """Refuse two distributions whose draws have different shapes, or take different numbers of values."""
    values = [len(d.support_values()) if d.able("support_values") else 0 for d in (p, q)]
    if p.event_shape == q.event_shape and values[0] == values[1]:
        return
    what = (f"The first takes {values[0]} values, the second {values[1]}" if p.event_shape == q.event_shape
            else f"One draw of the first has shape {p.event_shape}, of the second {q.event_shape}")
    raise ShapeError(str(here() or ""), f"KL({type(p).__name__} ‖ {type(q).__name__}) was asked for.",
                     f"{what}: they are distributions over different spaces.", "Give both parameters of one size.")
