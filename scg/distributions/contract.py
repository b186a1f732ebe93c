"""What the capabilities of a family must return, checked when a family is registered and whenever one is used.

With draws of shape S, parameters of batch shape B, and one draw of shape E:

=======================================  =============================================================================
``log_prob(x)``, ``probability(x)``       the shape of the draws, S and B broadcast, for x of shape (*S, *E); of
                                         ``score_form(x)`` too
``sample(noise)``, ``reparameterise``     (*S, *E), for a stream of shape S, each word of which is used once; made of it
``mean``, ``variance``                    (*B, *E)
``entropy()``, divergences                B
``draw_derivative(x)``                    (*S, *E), and after these the dimensions of one value of the parameter
``support_values()``                      (n, *E)
``latent(x, noise)``, ``latent_given``    (*S, *E)
``relaxed(latent, temperature)``          (*S, *E)
``plus`` and ``minus`` of a `Triple`      what can be broadcast to x; ``eta`` and ``coefficient`` to its draws
=======================================  =============================================================================

What does not depend on the value may be smaller, and is repeated. Anything else would be broadcast in silence, and
weigh or miss parts of a gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from scg.distributions.of_noise import made_of_noise, one_formula
from scg.distributions.ranges import within_ranges
from scg.distributions.refused_uses import SITES
from scg.errors import CapabilityError, DeclarationError, ShapeError
from scg.ir.axes import LANE
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant
from scg.ir.said import said
from scg.ir.signed import signed
from scg.ir.spelling import moved
from scg.ir.traverse import topological
from scg.ops.arithmetic import choose
from scg.ops.density import Said, log_density
from scg.ops.implicit import implicit
from scg.ops.leaves import feed, noise
from scg.ops.randomness import uses
from scg.ops.reduce import total
from scg.ops.shapes import broadcasts_to
from scg.ops.structure import broadcast_to, reshape


def fitted(dist: Any, capability: str, found: Any, shape: tuple[int, ...], given: Node | None = None,
           event: int = 0) -> Node:
    """What a capability returned, in the shape of the contract.

    Parameters
    ----------
    dist : Distribution
    capability : str
    found : Node
    shape : tuple of int
        That it must have, or be broadcast to if it does not depend on `given`.
    given : Node, optional
        The value or the noise that the capability was given.
    event : int
        Trailing dimensions that it must have as they are.

    Raises
    ------
    ShapeError
    """
    node = as_real(constant(found))
    if node.shape == shape:
        return node
    whole = node.ndim >= event and node.shape[node.ndim - event:] == shape[len(shape) - event:]
    apart = given is None or all(n is not given for n in topological([node]))
    if whole and apart and broadcasts_to(node.shape, shape):
        return broadcast_to(node, shape)
    name = type(dist).__name__
    raise ShapeError(
        str(here() or ""), f"{name}.{capability} returned a node of shape {node.shape}.",
        f"Its shape must be {shape}: parameters have the batch shape {dist.batch_shape}, and one draw has shape "
        f"{dist.event_shape}.",
        "Sum over the dimensions of one draw, and no others." if capability in _OF_DRAWS
        else "Return one value for each draw.")


def _lacking(dist: Any, capability: str) -> CapabilityError:
    name = type(dist).__name__
    return CapabilityError(str(here() or ""), f"{name}.{capability} was asked for.",
                           f"This {name} has none: not all families, nor all that they are made of, have one.",
                           f"It has: {', '.join(dist._offers())}.")


def _events(dist: Any) -> int:
    return len(dist.event_shape)


# --- capabilities, held to it ----------------------------------------------------------------------------------------
def _log_prob(formula: Callable) -> Callable:
    """A family's log_prob: its formula on the support, −∞ elsewhere."""

    @functools.wraps(formula)
    def log_prob(self, value):
        return _as_called(self, "log_prob({0})", checked(self, value), as_real(constant(value)))

    def checked(self, value):
        x, shape = _asked(self, value)
        log_p = fitted(self, "log_prob", formula(self, x), shape, x)
        if self.within or self.drew(x):
            return log_p
        log_p = within_ranges(log_p, self)
        if self.unlimited:
            return log_p
        beyond = self.outside(x)
        said = Said(type(self).__name__, self.values_text, bool(_events(self)))
        shown = total(x, axis=tuple(range(x.ndim - _events(self), x.ndim))) if _events(self) else x
        return log_density(constant(False) if beyond is None else beyond, shown, log_p, said)

    return log_prob


def _probability(formula: Callable) -> Callable:
    """A family's probability: its formula on the support, 0 elsewhere."""

    @functools.wraps(formula)
    def probability(self, value):
        x, shape = _asked(self, value)
        beyond = self.outside(x)
        p = fitted(self, "probability", formula(self, x), shape, x)
        return p if beyond is None else choose(beyond, 0.0, p)

    return probability


def _score_form(formula: Callable) -> Callable:
    """A family's log_prob as it is differentiated."""

    @functools.wraps(formula)
    def score_form(self, draw):
        x, shape = _asked(self, draw)
        return fitted(self, "score_form", formula(self, x), shape, x)

    return score_form


def _as_called(dist: Any, what: str, found: Node, *given: Node) -> Node:
    """A quantity that a user asked of a distribution reads as that; those of sites are the compiler's."""
    if not dist.stated:
        return found
    call, params = dist.as_called()
    return said(found, f"{moved(call, len(given))}.{what}", *given, *params)


def _asked(dist: Any, value: Any) -> tuple[Node, tuple[int, ...]]:
    """The value as a node, and the shape of its log-probability."""
    x = as_real(constant(value))
    draws = dist.draws(x)
    try:
        return x, np.broadcast_shapes(draws, dist.batch_shape)
    except ValueError:
        raise ShapeError(str(here() or ""), f"{type(dist).__name__} was asked about draws of shape {draws}.",
                         f"Its parameters have shape {dist.batch_shape}: these cannot be broadcast together.",
                         "Reshape one of them.") from None


def _of_noise(name: str, sampler: Callable) -> Callable:
    """A family's sampler, which users take for a way to draw."""

    @functools.wraps(sampler)
    def given(self, *noise):
        if len(noise) != 1:
            raise DeclarationError(str(here() or ""), f"{type(self).__name__}.{name}() was called.",
                                   "A distribution says what is drawn; it draws nothing itself.", SITES)
        draw = fitted(self, name, sampler(self, *noise), noise[0].shape + self.event_shape, noise[0])
        return made_of_noise(self, name, draw)

    return given


def _of_draw(name: str, method: Callable) -> Callable:
    """What stands for a family's draw."""

    @functools.wraps(method)
    def given(self, x, other):
        found = fitted(self, name, method(self, x, other), x.shape, x)
        return found if name == "relaxed" else made_of_noise(self, name, found)

    return given


def _moment(name: str, moment: property) -> property:
    formula: Any = moment.fget

    @functools.wraps(formula)
    def value(self):
        if not self.able(name):
            raise _lacking(self, name)
        found = fitted(self, name, formula(self), self.batch_shape + self.event_shape, event=_events(self))
        return _as_called(self, name, found)

    return property(value)


def _entropy(formula: Callable) -> Callable:
    @functools.wraps(formula)
    def entropy(self):
        if not self.able("entropy"):
            raise _lacking(self, "entropy")
        return _as_called(self, "entropy()", within_ranges(fitted(self, "entropy", formula(self), self.batch_shape),
                                                         self))

    return entropy


def _values(method: Callable) -> Callable:
    @functools.wraps(method)
    def support_values(self):
        values = method(self)
        if values is not None and np.shape(values)[1:] != self.event_shape:
            raise ShapeError(str(here() or ""), f"{type(self).__name__}.support_values returned an array of shape "
                             f"{np.shape(values)}.", f"One draw has shape {self.event_shape}.",
                             "Return the values one after another along a first dimension.")
        return values

    return support_values


def _triples(method: Callable) -> Callable:
    @functools.wraps(method)
    def weak_derivative(self):
        return [_triple(self, t) for t in method(self)]

    return weak_derivative


def _triple(dist: Any, triple: Any) -> Any:
    def side(value: Callable) -> Callable:
        def found(x: Node, stream: Node) -> Any:
            v = value(x, stream)
            shape, events = np.shape(v) if not isinstance(v, Node) else v.shape, _events(dist)
            if not broadcasts_to(shape, x.shape) or (events and shape[-events:] != x.shape[-events:]):
                name = type(dist).__name__
                raise ShapeError(str(here() or ""), f"{name}.weak_derivative has a value of shape {shape}.",
                                 f"It takes the place of draws of shape {x.shape}.", "Return one value for each draw.")
            return v

        return found

    for part in ("eta", "coefficient"):
        fitted(dist, f"weak_derivative: {part}", getattr(triple, part), dist.batch_shape)
    return replace(triple, plus=side(triple.plus), minus=side(triple.minus))


_HELD: dict[str, Callable] = {
    "log_prob": _log_prob, "score_form": _score_form, "probability": _probability, "entropy": _entropy,
    "support_values": _values, "weak_derivative": _triples}
_SAMPLERS, _MOMENTS = ("sample", "reparameterise"), ("mean", "variance")
_STAND_INS = ("latent", "latent_given", "relaxed")  # of draws
_ASKED = ("log_prob", "probability", "entropy")  # by users
_OF_DRAWS = (*_ASKED, "score_form")  # what has no dimensions of one draw


def implicit_path(self: Any, noise: Node) -> Node:
    """The draw, which moves with the parameters as `draw_derivative` says."""
    draw = self.sample(noise)
    return implicit(draw, _slopes(self, draw))


def _slopes(dist: Any, draw: Node) -> Iterator[tuple[Node, Node]]:
    """The elements of the parameters, and the slopes of the draw in them."""
    ones = (1,) * _events(dist)
    slopes = dist.draw_derivative(draw)
    if slopes.keys() != dist.params.keys():
        raise DeclarationError(
            str(here() or ""), f"{type(dist).__name__}.draw_derivative returned the derivatives in "
            f"{', '.join(slopes) or 'nothing'}.", f"A draw may move with {', '.join(dist.params)}.",
            "Return one for each parameter, 0.0 for what does not move it.")
    for name, found in slopes.items():
        parameter, inner = dist.params[name], dist.parameters[name].event_ndim
        own = parameter.shape[parameter.ndim - inner:]
        slope = fitted(dist, f"draw_derivative: {name}", found, draw.shape + own)
        for index in np.ndindex(own):
            element = parameter[(..., *index)] if index else parameter
            yield reshape(element, (*element.shape, *ones)), slope[(..., *index)] if index else slope


def hold_to_contract(cls: Any) -> None:
    """Let every capability that a class defines check what it returns; a derivative of its draw makes a path."""
    if "draw_derivative" in cls.__dict__ and "reparameterise" not in cls.__dict__:
        cls.reparameterise = implicit_path
    for name, around in _HELD.items():
        if name in cls.__dict__:
            held = around(cls.__dict__[name])
            setattr(cls, name, signed(held) if name in _ASKED else held)
    for name in _SAMPLERS:
        if name in cls.__dict__:
            setattr(cls, name, _of_noise(name, cls.__dict__[name]))
    for name in _STAND_INS:
        if name in cls.__dict__:
            setattr(cls, name, _of_draw(name, cls.__dict__[name]))
    for name in _MOMENTS:
        if isinstance(cls.__dict__.get(name), property):
            setattr(cls, name, _moment(name, cls.__dict__[name]))


# --- a look at a family ----------------------------------------------------------------------------------------------
_unseen: set[type] = set()  # families that are looked at when one is first made
_loaded = False  # whether what a look needs can be imported


def registered(cls: type) -> None:
    """Look at a family when it is defined.

    One that uses what its module defines further down, and those of the package, are looked at when first made.
    """
    if not _loaded:
        _unseen.add(cls)
        return
    try:
        examine(cls)
    except NameError:
        _unseen.add(cls)


def first_used(cls: type) -> None:
    """Look at a family that was not looked at yet."""
    if cls in _unseen:
        _unseen.discard(cls)
        try:
            examine(cls)
        except BaseException:
            _unseen.add(cls)
            raise


def package_is_loaded() -> None:
    """From now on families are looked at when they are defined."""
    global _loaded
    _loaded = True


def examine(cls: Any) -> None:
    """Ask a family for all that it can, at parameters of its cases with a batch of three, and two draws for each.

    Raises
    ------
    ShapeError
        If a result has not the shape of the contract.
    DeclarationError
        If a sampler uses a word of its noise twice.
    """
    for case in {tuple(sorted(case)): case for case in cls.cases}.values():
        examine_made(cls(**{name: feed(name, (3, *np.shape(v)), (LANE,)) for name, v in case.items()}))


def examine_made(dist: Any) -> None:
    """The same of a distribution at leaves: all that it can, twice, and two draws for each of its batch.

    Raises
    ------
    ShapeError, DeclarationError
    """
    cls = type(dist)
    draws = (2, *dist.batch_shape)
    stream = noise("law", draws, (LANE,), constant(0.0))
    x = feed("x", draws + dist.event_shape, (LANE,))
    for name in (*_HELD, *_MOMENTS):
        if dist.able(name):
            given = (x,) if name in ("log_prob", "score_form", "probability") else ()
            if name == "weak_derivative":  # a list, whose parts are looked at below
                dist.weak_derivative()
            else:
                one_formula(cls, name, lambda name=name, given=given: (
                    getattr(dist, name) if name in _MOMENTS else getattr(dist, name)(*given)))  # these are properties
    for name in _SAMPLERS:
        if dist.able(name):
            words_used_once(cls, name, partial(getattr(dist, name), stream))
    for name in _STAND_INS[:2]:
        if dist.able(name):
            words_used_once(cls, name, partial(getattr(dist, name), x, stream))
    if dist.able("relaxed"):
        dist.relaxed(x, 0.5)
    for triple in dist.weak_derivative() if dist.able("weak_derivative") else ():
        for side in (triple.plus, triple.minus):
            words_used_once(cls, "weak_derivative", partial(side, x, stream))


def words_used_once(cls: Any, capability: str, draw: Callable[[], Any]) -> None:
    """Refuse a sampler that uses a word of its noise twice, or random numbers of its own.

    Raises
    ------
    DeclarationError
    """
    one_formula(cls, capability, draw)
    with uses() as found:
        draw()
    used = sorted(found)
    for one, two in pairwise(used):
        if one.path == two.path and two.first < one.end:
            raise DeclarationError(
                str(here() or ""), f"{cls.__name__}.{capability} draws twice from one stream: {one.what} and "
                f"{two.what} use the same words.",
                "Both would be made of the same random numbers, and depend on each other.",
                "Give each a stream of its own: one, two = split(noise, 2); or number the words of uniforms, of which "
                "a fine one takes two: uniform(noise, 0), uniform(noise, 2). What is to be used twice is drawn once: "
                "u = uniform(noise).")
