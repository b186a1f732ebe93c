"""Draws that a function of the user's makes: a site without a density."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from scg.distributions.distribution import Distribution
from scg.errors import DeclarationError
from scg.ir.constraints import Constraint, Support, real_line
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant, make
from scg.ops.call import UNLESS, Callee, callee, op_of, whole_shape
from scg.ops.leaves import split
from scg.ops.randomness import uniform
from scg.ops.structure import reshape, stack
from scg.ops.termination import held_by

MOST = 64  # draws of one site, each of which is a call of its own
MOST_UNIFORMS = 1024


class Simulated(NamedTuple):
    """What a simulator is besides its arguments; two of the same are one family."""

    callee: Callee
    uniforms: int
    ndims: tuple[int, ...]
    support: Support


class Simulator(Distribution):
    """What a function makes of its arguments and of uniform numbers: a site that is drawn, and has no density.

    It stands where only samples are known: a simulator from elsewhere, a sampler with a loop in it. No estimator weighs
    its draws, for that takes a density; so its arguments must not move with what is differentiated, unless `vjp` says
    how the draw moves with them (then `Pathwise` is there). What is upstream of other sites' scores, or downstream of
    their draws, is free (Condition 1 of Schulman et al. 2015).

    Parameters
    ----------
    function : callable
        ``function(*args, u)``, compiled by ``numba.njit`` (or any function, for ``backend="numpy"``): the draw, from
        the arguments, numbers for scalars and arrays for arrays, and `u`, an array of `uniforms` numbers, independent
        and uniform in (0, 1). It must be pure: the same for the same arguments.
    *args : Node or array_like
    uniforms : int
        How many numbers it takes: the same seed gives the same draws, on any number of workers.
    shape : int or tuple of int
        Of one draw.
    vjp : callable, optional
        ``vjp(g, *args, u)``: the adjoints of all arguments and of `u`, as a tuple, for that of the draw. The function
        is taken to be smooth then.
    support : Support, optional
        The values that it can take; any real numbers by default.

    Raises
    ------
    DeclarationError
        If there are no arguments of these kinds.

    Notes
    -----
    A site of `shape=` n is n calls, with the same arguments.
    """

    instead = ("A simulator has no density: give it vjp= if its draw is a smooth function of its arguments, or let a "
               "site with a density stand for what the parameters move.")

    def __init__(self, function: Callable, *args: Any, uniforms: int = 1, shape: int | tuple[int, ...] = (),
                 vjp: Callable | None = None, support: Support | None = None):
        if not isinstance(uniforms, (int, np.integer)) or not 1 <= uniforms <= MOST_UNIFORMS:
            raise DeclarationError(str(here() or ""), f"A simulator was given uniforms={uniforms!r}.",
                                   "It is how many random numbers the function takes.",
                                   f"Give a whole number from 1 to {MOST_UNIFORMS}.")
        nodes = [as_real(constant(a)) for a in args]
        event = whole_shape(shape)
        back = None if vjp is None else callee(vjp, [*(n.shape for n in nodes), (int(uniforms),)], several=True)
        values = support or (Support("arrays of real numbers", event_ndim=len(event)) if event else real_line)
        self.params = {f"arg{i}": node for i, node in enumerate(nodes)}
        self.hold(Simulated(callee(function, [event], back), int(uniforms), tuple(n.ndim for n in nodes), values))
        self._check_parameters()

    def hold(self, data: Any) -> None:
        self.data, self.support = data, data.support
        self.parameters = {f"arg{i}": _real_array(ndim) for i, ndim in enumerate(data.ndims)}

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.data.callee.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    def as_called(self) -> tuple[str, tuple[Node, ...]]:
        args = "".join(f", {{{i}}}" for i in range(len(self.params)))
        uniforms = f", uniforms={self.data.uniforms}" if self.data.uniforms > 1 else ""
        return f"Simulator({self.data.callee.name}{args}{uniforms})", tuple(self.params.values())

    def able(self, capability: str) -> bool:
        if capability == "reparameterise":
            return self.data.callee.vjp is not None
        return super().able(capability)

    def sample(self, noise: Node) -> Node:
        """One call for each draw."""
        u = stack([uniform(part) for part in split(noise, self.data.uniforms)], axis=-1)
        draws = noise.shape
        count = int(np.prod(draws, dtype=int))
        if count > MOST:
            raise DeclarationError(str(here() or ""), f"A site of {count} simulated draws was declared.",
                                   "Each is a call of its own in the kernel.",
                                   f"Give at most {MOST}, or let the function return an array of shape={draws}.")
        flat = reshape(u, (count, self.data.uniforms)) if draws else u
        found = [self._called(flat[i] if draws else flat) for i in range(count)]
        return reshape(stack(found), (*draws, *self.event_shape)) if draws else found[0]

    def reparameterise(self, noise: Node) -> Node:
        """The same draw; `vjp` differentiates it."""
        return self.sample(noise)

    def _called(self, u: Node) -> Node:
        given, of = (*self.params.values(), u), self.data.callee
        overs = [as_real(over) for over in held_by(given[0])[0]]  # of loops that may be over
        if not overs:
            return make(op_of(of), given, (of,))
        return make(op_of(of), (*given, reduce(add, overs)), (of, UNLESS))


def _real_array(ndim: int) -> Constraint:
    """Real numbers, all of which one draw takes."""
    return Constraint("of real numbers", lambda v: np.isfinite(v).all(axis=tuple(range(v.ndim - ndim, v.ndim))),
                      event_ndim=ndim)
