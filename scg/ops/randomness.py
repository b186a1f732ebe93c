"""From noise to samples: uniforms, antithetic noise, sampling loops, and the sample node itself.

A sample is a deterministic function of its parameters and its noise leaf. It is kept as one ``sample`` node, through
which no derivative flows, until `expand` writes out its family's sampler for a backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from scg.ir import draws
from scg.ir.interval import UNIT, Interval
from scg.ir.node import Node, apply, as_real, constant, make
from scg.ir.op import Op, Smoothness, register
from scg.ir.traverse import Substitution, substitute, topological
from scg.ops.arithmetic import assume_continuous_op, stop_gradient_op
from scg.ops.control import lying_op
from scg.ops.implicit import implicit_op, without
from scg.ops.leaves import along, placeholder
from scg.ops.scan import scan_op
from scg.ops.shapes import broadcast

_BLOCK = Smoothness.BLOCKING


class Draw(NamedTuple):
    """Which words of a stream make a uniform: the first draw's number, and whether two words are used."""

    number: int
    fine: bool


antithetic_op = register(Op(
    "antithetic", "structural", shape=lambda args, attrs: args[0].shape, result="noise", smoothness=_BLOCK,
    derivative=lambda g, y, a: (None,)))
uniform_op = register(Op("uniform", "structural", shape=lambda args, attrs: args[0].shape, smoothness=_BLOCK,
                         bounds=lambda n, noise: Interval(0.0, 1.0), derivative=lambda g, y, a: (None,), defined=True))


def uniform(noise: Node, draw: int = 0, *, fine: bool = True) -> Node:
    """A uniform in the open interval (0, 1), symmetric under ``1 - u``.

    Parameters
    ----------
    noise : Node
        The stream.
    draw : int
        Number of the first word; a fine uniform takes two.
    fine : bool
        52 bits of two words instead of 32 of one. Families whose values are real numbers or counts need it.
    """
    _note(noise, draw, draw + (2 if fine else 1), "uniform")
    return _uniform(noise, Draw(draw, fine))


def _uniform(noise: Node, draw: Draw) -> Node:
    if noise.op is antithetic_op:
        return 1.0 - _uniform(noise.args[0], draw)
    return make(uniform_op, (noise,), draw)


def normal(noise: Node, draw: int = 0) -> Node:
    """A standard normal value, from a fine uniform."""
    return apply("ndtri", uniform(noise, draw))


def antithetic(noise: Node) -> Node:
    """The stream whose uniforms are ``1 - u``."""
    return noise.args[0] if noise.op is antithetic_op else make(antithetic_op, (noise,))


# --- which words are used ------------------------------------------------------------------------------------------
class Use(NamedTuple):
    """Words of a stream that a function was asked to make a number of."""

    path: str
    first: int
    end: float
    what: str


_uses: ContextVar[list[Use] | None] = ContextVar("uses", default=None)


@contextmanager
def uses() -> Iterator[list[Use]]:
    """What is drawn meanwhile. Two equal uniforms are one node, so this is seen where they are asked for, not after."""
    found: list[Use] = []
    token = _uses.set(found)
    try:
        yield found
    finally:
        _uses.reset(token)


def _note(stream: Node, first: int, end: float, what: str) -> None:
    found = _uses.get()
    if found is not None:
        while stream.op is antithetic_op:
            stream = stream.args[0]
        found.append(Use(stream.attrs.path, first, end, what))


# --- sampling loops --------------------------------------------------------------------------------------------------
class LoopBody:
    """The body of a sampling loop: scalar nodes over placeholders for carries, parameters and a round's uniforms.

    Each round takes ``uniforms`` fresh fine uniforms, computes the next carries and whether it is done. The result is
    the first carry of the round that is done, or the first `wanted` of them; carries of finished elements stay as they
    are. A loop decides, so it computes in float64 in every working type.
    """

    def __init__(self, carries, parameters, uniforms, start, step, done, outputs=1):
        self.wanted = outputs
        self.carries, self.parameters, self.uniforms = tuple(carries), tuple(parameters), tuple(uniforms)
        self.start, self.step, self.done = tuple(start), tuple(step), done
        self._key = (outputs, *(n.id for n in self.nodes))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that it holds, or what these are computed from."""
        return (*self.carries, *self.parameters, *self.uniforms, *self.start, *self.step, self.done)

    @property
    def identity(self) -> tuple:
        """What stands for it where its nodes must not be kept."""
        return (type(self).__name__, *self._key)

    def __reduce__(self):
        return LoopBody, (self.carries, self.parameters, self.uniforms, self.start, self.step, self.done, self.wanted)

    def __hash__(self):
        return hash(self._key)

    def __eq__(self, other):
        return isinstance(other, LoopBody) and self._key == other._key


def _loop_shape(args, body: LoopBody) -> tuple[int, ...]:
    shape = broadcast(args, None)
    return shape if body.wanted == 1 else (body.wanted, *shape)


draw_until_op = register(Op(
    "draw_until", "loop", shape=_loop_shape, smoothness=_BLOCK,
    derivative=lambda g, y, *args: (None,) * len(args)))


def draw_until(noise: Node, parameters, start, step, uniforms: int, outputs: int = 1) -> Node:
    """A sample by rounds of fresh uniforms: rejection, or a search along the distribution function.

    Parameters
    ----------
    noise : Node
        The stream; its shape is that of the result.
    parameters : sequence of Node
        Broadcast to that shape.
    start : callable
        ``start(*parameters) -> carries``: what the first round begins with.
    step : callable
        ``step(carries, parameters, uniforms) -> (carries, done)``, elementwise.
    uniforms : int
        How many uniforms each round takes.
    outputs : int
        How many carries are wanted: with more than one they are stacked along a first dimension.
    """
    _note(noise, 0, np.inf, "draw_until")
    parameters = [constant(p) for p in parameters]
    ps = [placeholder(f"loop parameter {i}", (), ()) for i in range(len(parameters))]
    us = [placeholder(f"loop uniform {i}", (), ()) for i in range(uniforms)]
    begin = [as_real(constant(c)) for c in start(*ps)]
    cs = [placeholder(f"loop carry {i}", (), ()) for i in range(len(begin))]
    after, done = step(cs, ps, us)
    after = [as_real(constant(c)) for c in after]
    # NaN or infinity: parameters outside their constraint, or too large for one, which no round would end
    lost = apply("not", apply("lt", apply("abs", after[0]), np.inf))
    body = LoopBody(cs, ps, us, begin, after, apply("or", done, lost), outputs)
    return make(draw_until_op, (noise, *parameters), body)


# --- the sample node -------------------------------------------------------------------------------------------------
class Sampled(NamedTuple):
    """Attributes of a sample node: the site, the family, and which of its parameters the arguments are.

    The family is a value: its class, or a `scg.distributions.distribution.Family`, which holds data besides.
    """
    site: str
    family: Any
    names: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def naming(self) -> str:
        """The field that holds a name of the user's."""
        return "site"


def _support(node: Node, *intervals: Interval) -> Interval:
    """Where the family's draws lie, given where its parameters do."""
    return distribution_of(node).range(dict(zip(node.attrs.names, intervals)))


def _sample(node: Node, args: tuple[Node, ...], hook=None) -> Node:
    return make(sample_op, (*args[:-1], _independent(args[-1], args[:-1])), node.attrs)


def _depends(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    """Each draw depends on its own parameters, and all of a draw on all of these."""
    if not draws.told_apart(of):
        return draws.of_all(of)
    family = n.attrs.family
    shape = n.shape[: n.ndim - family.support.event_ndim]
    found: draws.Draws = 0
    for name, param, sets in zip(n.attrs.names, n.args, of):
        inner = range(param.ndim - family.parameters[name].event_ndim, param.ndim)
        found = found | np.broadcast_to(draws.united_over(draws.whole(sets, param), inner), shape)
    return np.broadcast_to(np.reshape(found, (*shape, *(1,) * (n.ndim - len(shape)))), n.shape)


def _sums_of_draws(n: Node, of, within) -> dict[int, float]:
    """What the elements of one draw add up to."""
    jointly = n.attrs.family.support.jointly
    return {} if jointly is None or jointly.sum is None else {-1: jointly.sum}


sample_op = register(Op("sample", "loop", shape=lambda args, attrs: attrs.shape, smoothness=_BLOCK,
                        derivative=lambda g, y, *args: (None,) * len(args), bounds=_support, rebuild=_sample,
                        depends=_depends, constant_sums=_sums_of_draws,
                        advice="Keep its parameters away from the ends of their range."))


def sample(site: str, dist, noise: Node) -> Node:
    """The stochastic node of a distribution at its parameters, driven by `noise`: one draw for each of its elements."""
    params = tuple(dist.params.values())
    attrs = Sampled(site, dist.family, tuple(dist.params), noise.shape + dist.event_shape)
    return make(sample_op, (*params, _independent(noise, params)), attrs)


def _independent(noise: Node, params: tuple[Node, ...]) -> Node:
    """The stream with draws of its own for every row and lane that the parameters differ by."""
    return along(noise, tuple(ax for p in params for ax in p.axes if ax.statistical))


def distribution_of(node: Node, args: tuple[Node, ...] | None = None):
    """The distribution of a sample node, at its own or at other arguments."""
    args = node.args if args is None else args
    return node.attrs.family._at(dict(zip(node.attrs.names, args[:-1])))


def expand(roots) -> list[Node]:
    """The roots with every sample node written out as its family's sampler, in the bodies of scans too.

    What the noise of a draw gives without its rounding is written out so (`Distribution.of_draw`).
    """
    roots = _without_marks(roots)
    written = Substitution()

    def draw_of(node: Node) -> Node:
        return substitute([node], {n: without(n) for n in topological([node]) if n.op is implicit_op})[0]

    for node in topological(roots):
        if node.op is sample_op:
            args = tuple(map(written, node.args))
            dist = distribution_of(node, args)
            draw = dist.sample(args[-1])
            written.put(node, draw)
            of_draw = distribution_of(node).of_draw(node, node.args[-1])
            for old, new in zip(of_draw, dist.of_draw(draw, args[-1]).values()):
                written.put(old, draw_of(new))
        elif node.op is implicit_op:
            written.put(node, written(without(node)))
        elif node.op is scan_op:
            body = node.attrs.with_outputs(expand(node.attrs.outputs))
            if body != node.attrs:
                written.put(node, make(node.op, tuple(map(written, node.args)), body))
    return list(map(written, roots))


def _without_marks(roots) -> list[Node]:
    """The roots without marks on differentiated paths, which are values of their own now: x and ⊥x are one node."""
    order = topological(roots)
    if not any(n.op is sample_op and n.attrs.family.can("of_draw") for n in order):
        return list(roots)
    bare = Substitution()
    for n in order:
        if n.op in (stop_gradient_op, assume_continuous_op, lying_op):
            bare.put(n, bare(n.args[0]))
    return list(map(bare, roots))


# --- discrete draws --------------------------------------------------------------------------------------------------
# args: (stream, its coarse uniform, probability, log-odds if these are what is given)
below_op = register(Op("below", "structural", shape=lambda args, attrs: args[0].shape, smoothness=_BLOCK,
                       integral="always", text="where({1} < {2}, 1, 0)",
                       bounds=lambda n, *args: UNIT, derivative=lambda g, y, *args: (None,) * len(args)))
# args: (stream, its coarse uniform, probabilities along a last dimension)
category_op = register(Op("category", "structural", shape=lambda args, attrs: args[0].shape, smoothness=_BLOCK,
                          integral="always",
                          bounds=lambda n, *args: Interval(0.0, n.args[2].shape[-1] - 1.0, False, False),
                          derivative=lambda g, y, *args: (None,) * len(args)))
NEAR = {"float64": 2.0**-32, "float32": 2.0**-20}
"""How near a coarse uniform may fall to a probability, rounding of both included, before further words must decide."""


def below(noise: Node, probability: Node, logits: Node | None = None) -> Node:
    """1 with the probability, else 0: whether the stream's U lies below it (`scg.noise.below`).

    Parameters
    ----------
    noise : Node
        The stream; its shape is that of the result.
    probability : Node
    logits : Node, optional
        Its log-odds, if these are known: then a probability next to 1 is not rounded to it.
    """
    _note(noise, 0, np.inf, "below")
    coarse = _uniform(noise, Draw(0, False))
    return make(below_op, (noise, coarse, probability, *(() if logits is None else (logits,))))


def category(noise: Node, probabilities: Node) -> Node:
    """An index, with the probabilities of the last dimension: where the stream's U falls (`scg.noise.category`)."""
    _note(noise, 0, np.inf, "category")
    return make(category_op, (noise, _uniform(noise, Draw(0, False)), probabilities))


def coarsely(draw: Node, u: Node, probability: Node) -> Node:
    """A discrete draw as a function of one uniform: what exact integration over it takes, where no tie is met."""
    from scg.ops.reduce import total
    from scg.ops.structure import reshape

    if draw.op is below_op:
        return make("real", (apply("lt", u, probability),))
    size = probability.shape[-1]
    if size == 1:
        return u * 0.0
    sums = probability @ np.triu(np.ones((size, size)))[:, :-1]  # column k sums p[0] … p[k]
    return total(make("real", (apply("le", sums, reshape(u, (*u.shape, 1))),)), axis=-1)


MAX_ROUNDS = np.int64(1) << 20  # a sampling loop longer than this is a fault of its parameters: the value becomes NaN
