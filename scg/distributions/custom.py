"""A family of the user's own, given by functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scg.distributions.captured import captured, changed
from scg.distributions.contract import examine_made, implicit_path
from scg.distributions.distribution import Distribution
from scg.errors import DeclarationError
from scg.ir.constraints import Constraint, Support, real, real_line
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant
from scg.ir.printer import title
from scg.ir.traverse import topological
from scg.ops.leaves import feed, noise
from scg.ops.randomness import sample_op


class Functions(NamedTuple):
    """What a custom family is made of; two of the same functions are one family."""

    log_prob: Callable | None
    sample: Callable | None
    path: Callable | None
    draw_derivative: Callable | None
    mean: Callable | None
    support: Support
    event_shape: tuple[int, ...]
    constraints: tuple[tuple[str, Constraint], ...]


_CAPABILITIES = {"log_prob": ("log_prob",), "probability": (), "sample": ("sample", "path"), "mean": ("mean",),
                 "reparameterise": ("path", "draw_derivative"), "draw_derivative": ("draw_derivative",)}
_FIRST = {"log_prob": ("x",), "sample": ("noise",), "path": ("noise",), "draw_derivative": ("x",), "mean": ()}
"""What each function is given before the parameters."""
_seen: dict[Functions, list[tuple[Callable, dict[str, Any]]]] = {}  # with what each function read from around it


class Custom(Distribution):
    """A family of your own: a log-probability in nodes, a sampler or a path, or several of these.

    Each function is given the parameters by name, and must use no other nodes of the graph. They are called again when
    the graph is compiled: numbers that they read from around them must be the same by then.

    Parameters
    ----------
    parameters : dict of str to Node or array_like
    log_prob : callable, optional
        ``log_prob(x, **parameters)``: the logarithm of the density at x, or of the probability, one for each draw.
        Unlocks `ScoreFunction` and what else takes scores; for whole numbers between two ends `Enumerate` too.
    sample : callable, optional
        ``sample(noise, **parameters)``: a draw from a stream, by `scg.extend.uniform`, `split` and the like.
    path : callable, optional
        ``path(noise, **parameters)``: the same as a differentiable function of the parameters: unlocks `Pathwise`.
        A site needs it, or `sample`; what only scores values, as in ``p.log_prob(y)``, needs neither.
    draw_derivative : callable, optional
        ``draw_derivative(x, **parameters)``: a dict from names of parameters to the derivative of a draw in each:
        unlocks `Pathwise` where there is no formula for the path.
    mean : callable, optional
        ``mean(**parameters)``.
    support : Support
        The values that it can take: the real numbers by default.
    event_shape : tuple of int
        The shape of one draw, where `support` is of vectors.
    constraints : dict of str to Constraint
        What parameters must satisfy; any real number by default.
    """

    def __init__(self, parameters: Mapping[str, Any], *, log_prob: Callable | None = None,
                 sample: Callable | None = None, path: Callable | None = None,
                 draw_derivative: Callable | None = None, mean: Callable | None = None, support: Support = real_line,
                 event_shape: tuple[int, ...] = (), constraints: Mapping[str, Constraint] | None = None):
        if not isinstance(parameters, Mapping):
            raise _refused(f"parameters={parameters!r}", "They are a dict from names to nodes.",
                           'Give it, for example, {"rate": scg.exp(a)}.')
        if log_prob is None and sample is None and path is None:
            raise _refused("none of log_prob=, sample= and path=", "Nothing says what it is.",
                           "Give sample= or path=, by which a site is drawn, or log_prob=, by which data are scored.")
        given = {**dict.fromkeys(parameters, real), **(constraints or {})}
        if set(given) != set(parameters):
            raise _refused(f"constraints on {', '.join(set(given) - set(parameters))}", "It has no such parameter.",
                           f"Its parameters are: {', '.join(parameters) or 'none'}.")
        self.params = {name: as_real(constant(value)) for name, value in parameters.items()}
        self.hold(Functions(log_prob, sample, path, draw_derivative, mean, support, tuple(event_shape),
                             tuple(given.items())))
        self._check_parameters()
        if self.data not in _seen:
            self._look()
            _seen[self.data] = [(f, captured(f)) for f in self.data[:5] if f is not None]
        self._hold_to_captured()

    def hold(self, data: Any) -> None:
        self.data, self.support, self.parameters = data, data.support, dict(data.constraints)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.data.event_shape

    def able(self, capability: str) -> bool:
        values = ("support_values",) if self.data.log_prob and self._whole_between() else ()
        parts = _CAPABILITIES.get(capability, ())
        if capability == "reparameterise" and not self.able("sample"):
            return False  # a derivative of what is not drawn
        return capability in values or any(getattr(self.data, part) is not None for part in parts)

    def _whole_between(self) -> bool:
        ends = (self.support.low, self.support.high)
        return self.support.integral and not self.event_shape and all(
            isinstance(end, (int, float)) and np.isfinite(end) for end in ends)

    def log_prob(self, value) -> Node:
        return self._called("log_prob", value)

    def sample(self, noise: Node) -> Node:
        return self._called("sample" if self.data.sample else "path", noise)

    def reparameterise(self, noise: Node) -> Node:
        """What is given as `path`, or the draw with the derivative that is given."""
        return self._called("path", noise) if self.data.path else implicit_path(self, noise)

    def draw_derivative(self, x: Node) -> Mapping[str, Node]:
        """What is given."""
        return self._called("draw_derivative", x)

    @property
    def mean(self) -> Node:
        return self._called("mean")

    def support_values(self) -> np.ndarray | None:
        return np.arange(float(self.support.low), float(self.support.high) + 1.0) if self._whole_between() else None

    def _called(self, name: str, *args: Node) -> Any:
        self._hold_to_captured()
        return getattr(self.data, name)(*args, **self.params)

    def _look(self) -> None:
        """Hold the functions to the contract of a family, at leaves in the place of the parameters."""
        leaves = {name: feed(name, node.shape) for name, node in self.params.items()}
        for name, first in _FIRST.items():
            if getattr(self.data, name) is not None:
                _check_signature(name, getattr(self.data, name), (*first, *leaves))
        at = self.family._at(leaves)
        examine_made(at)
        stream = noise("law", at.batch_shape, (), constant(0.0))
        roots = [getattr(at, name)(stream) for name in ("sample", "reparameterise") if at.able(name)]
        if at.able("mean"):
            roots.append(at.mean)
        if at.able("log_prob"):
            roots.append(at.log_prob(feed("x", at.batch_shape + self.event_shape)))
        # the last one: what comes before may be what a draw that the function uses is made of
        foreign = next((n for n in reversed(topological(roots)) if n.owner is not None and (
            n.op.kind == "leaf" or n.op is sample_op)), None)
        if foreign is not None:
            raise _refused(f"a function that uses {title(foreign)} of the graph",
                           "It is not among the parameters, so nothing would be derived through it.",
                           "Give it as one of the parameters.")

    def _hold_to_captured(self) -> None:
        """Refuse a function that would give something else than when it was first looked at."""
        for function, before in _seen.get(self.data, ()):
            name = changed(before, function)
            if name is not None:
                raise _refused(f"{getattr(function, '__name__', 'a function')}, which reads {name!r} from around it",
                               "That has another value by now, and the family would be another one.",
                               f"Give it as one of the parameters, or let the function keep it: "
                               f"lambda …, {name}={name}: ….")


def _check_signature(name: str, function: Callable, arguments: Sequence[str]) -> None:
    """Refuse a function that cannot be given its first argument by position, and the parameters by name."""
    first, named = (arguments[:1], arguments[1:]) if _FIRST[name] else ((), arguments)
    try:
        inspect.signature(function).bind(*first, **dict.fromkeys(named))
    except TypeError:
        given = f"{name}={getattr(function, '__name__', 'a function')}{inspect.signature(function)}"
        raise _refused(given, "Its functions are given the parameters by name"
                       + (f", after {first[0]}." if first else "."),
                       f"Let it take {', '.join(arguments) or 'nothing'}.") from None


def _refused(what: str, why: str, fix: str) -> DeclarationError:
    return DeclarationError(str(here() or ""), f"Custom was given {what}.", why, fix)
