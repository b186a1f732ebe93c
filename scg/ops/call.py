"""Functions of the user's as nodes: simulators, table look-ups, whatever is written as a loop over numbers.

A call has the function's result for its value, in every replicate. Nothing is known of it but what `vjp=` tells: with
one it is taken to be smooth, as the ops are; without, no derivative passes it, and a graph that needs one is refused.

Where a loop is over the function is not called: what its step would give it may be nothing that the function knows.
Such a call has a number as its last argument that is not 0 there, and the value 0.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scg.errors import ConditionError, DeclarationError, SCGError
from scg.ir.code_digest import code_digest, plain
from scg.ir.global_draws import global_draw
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant, make, where
from scg.ir.op import Op, Smoothness, register
from scg.ops.shapes import is_whole, refuse
from scg.ops.structure import aligned, reshape

MOST_DIMENSIONS = 4  # of arrays that are handed over
UNLESS = "unless"  # the attribute of a call whose last argument says where it does not happen
CALLABLE = "a function that numba.njit compiled, or, for backend=\"numpy\", any function"


@dataclass(frozen=True, eq=False)
class Callee:
    """A function that graphs call; two of the same code, around the same values, are one.

    Parameters
    ----------
    function : callable
        Of numbers and arrays, as its arguments' shapes are.
    shapes : tuple of tuple of int
        The shapes of what it returns: of one value, or of several, in a tuple.
    digest : str
        What it computes, as a name.
    portable : bool
        Whether the digest means the same in another process.
    vjp : Callee or None
        What returns the adjoints of its arguments, given that of its result and the arguments.
    several : bool
        Whether it returns a tuple of values. Of one, that value alone will do.
    line : str
        Where a graph first called it.
    """

    function: Callable
    shapes: tuple[tuple[int, ...], ...]
    digest: str
    portable: bool
    vjp: Callee | None = None
    several: bool = False
    line: str = ""

    @property
    def _key(self) -> tuple:
        return self.digest, self.shapes, self.several, None if self.vjp is None else self.vjp._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callee) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(plain(self.function), "__name__", "function")

    @property
    def module(self) -> str:
        """The module that it was written in."""
        return getattr(plain(self.function), "__module__", "__main__")

    @property
    def importable(self) -> bool:
        """Whether another program finds it by its module and name."""
        found = getattr(sys.modules.get(self.module), self.name, None)
        return self.module != "__main__" and found is self.function

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a node that calls it: the value's, or that of all values, one after another."""
        return (sum(math.prod(s) for s in self.shapes),) if self.several else self.shapes[0]

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *args: Any) -> np.ndarray:
        """Its values at one point, one after another.

        Raises
        ------
        SCGError
            If it raises, or returns something of another shape.
        """
        try:
            found = self.function(*args)
        except SCGError:
            raise
        except Exception as error:
            raise SCGError("", f"{self.name} raised {type(error).__name__}: {error}",
                           "It is called in every replicate, with what the graph gives it.",
                           "Let it return a number there, NaN for instance.") from error
        values = found if self.several and isinstance(found, tuple) else (found,)
        if any(isinstance(v, Node) for v in values):
            raise SCGError("", f"{self.name}{', which was given as vjp=,' if self.several else ''} returned a node.",
                           "It is called in every replicate, with numbers, and what it returns are numbers.",
                           "Compute with NumPy, of its arguments alone: a node that it needs is an argument of g.call.")
        if len(values) != len(self.shapes):
            raise self._misshapen(found)
        parts = [np.asarray(v, dtype=np.float64) for v in values]
        if any(part.shape != shape for part, shape in zip(parts, self.shapes)):
            raise self._misshapen(found)
        return np.concatenate([part.reshape(-1) for part in parts])

    def _misshapen(self, found: Any) -> SCGError:
        if not self.several:
            have, want = np.shape(found), self.shapes[0]
            return SCGError("", f"{self.name} returned something of shape {have}.", f"The graph was told {want}.",
                            f"Declare it with shape={have}, or let it return {want}.")
        parts, what = (found, "a tuple") if isinstance(found, tuple) else ((found,), "one value")
        many = f"{len(self.shapes)} arguments" if len(self.shapes) > 1 else "one argument"
        return SCGError("", f"{self.name}, which was given as vjp=, returned {what} of shape "
                        f"{_listed([np.shape(x) for x in parts])}.",
                        f"The call has {many}, of shape {_listed(self.shapes)}.",
                        "Let it return an adjoint for each argument, in its shape, as a tuple.")


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes)) or "()"


def _value(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The function's value along all axes, one point after another."""
    callee = node.attrs[0]
    fitted = [aligned(v, a, node.axes, a.ndim) for v, a in zip(arrays, node.args)]
    count = len(given_of(node))
    k = len(node.axes)
    lead = np.broadcast_shapes(*(f.shape[:k] for f in fitted)) if fitted else ()
    spread = [np.broadcast_to(f, lead + f.shape[k:]) for f in fitted]
    out = np.zeros((*lead, math.prod(node.shape)), np.result_type(*fitted[:count]))
    for at in np.ndindex(*lead):
        if any(over[at] for over in spread[count:]):
            continue
        try:
            out[at] = callee(*(f[at] if f.ndim == k else _read_only(f[at]) for f in spread[:count]))
        except SCGError as error:
            problem = error.problems[0]
            raise SCGError(problem.where or where(node), problem.what, problem.why, problem.fix) from error
    return out.reshape(lead + node.shape)


def _read_only(array: np.ndarray) -> np.ndarray:
    """An array as functions are given it."""
    own = np.array(array, order="C")
    own.setflags(write=False)
    return own


def _derivative(g: Node, node: Node, *args: Node) -> tuple[Node | None, ...]:
    callee = node.attrs[0].vjp
    found, start = make(op_of(callee), (as_real(g), *args), (callee, *node.attrs[1:])), 0
    parts: list[Node | None] = []
    for shape in callee.shapes:
        size = math.prod(shape)
        parts.append(reshape(found[start : start + size], shape) if shape else found[start])
        start += size
    return (*parts, *(None for _ in node.attrs[1:]))


def _no_derivative(g: Node, node: Node, *args: Node) -> tuple[Node | None, ...]:
    name = node.attrs[0].name
    if node.op is vjp_call_op:
        raise ConditionError(
            where(node), f"A derivative must pass the call of {name}.",
            "It was given as vjp=, and nothing is known of its own derivative, which a second derivative along the "
            "path takes.", "Take an estimator that needs no path through the call, such as ScoreFunction at the sites "
            "above it; or write the function in nodes.")
    raise ConditionError(
        where(node), f"A derivative must pass the call of {name}.",
        "Nothing is known of its derivative: it was declared without vjp=.",
        f"Give vjp=, a function of the adjoint of what {name} returns and of its arguments that returns the arguments' "
        "adjoints; or take an estimator that needs no path through it, such as ScoreFunction; or stop the gradient.")


def _text(node: Node) -> str:
    return f"{node.attrs[0].name}({', '.join(f'{{{i}}}' for i in range(len(given_of(node))))})"


_common: dict[str, Any] = {"shape": lambda args, attrs: attrs[0].shape, "value": _value, "flat": True, "reduces": True,
                           "growth": math.inf, "text": _text}
call_op = register(Op("call", "structural", derivative=_derivative, **_common))
opaque_call_op = register(Op("call_without_vjp", "structural", derivative=_no_derivative,
                             hinders="has no derivative: it was declared without vjp=",
                             smoothness=Smoothness.DISCONTINUOUS, **_common))
vjp_call_op = register(Op("call_of_vjp", "structural", derivative=_no_derivative,
                          hinders="has no derivative of its own that is known: it was given as vjp=",
                          smoothness=Smoothness.DISCONTINUOUS, **_common))
CALLS = (call_op, opaque_call_op, vjp_call_op)


def given_of(node: Node) -> tuple[Node, ...]:
    """What a call gives its function."""
    return node.args[: len(node.args) - len(node.attrs[1:])]


def unless_of(node: Node) -> Node | None:
    """A number that is not 0 where a call does not happen, as a loop is over; None of one that always does."""
    return node.args[-1] if node.attrs[1:] else None


def callee(function: Callable, shapes: Sequence[tuple[int, ...]], vjp: Callee | None = None,
           several: bool = False) -> Callee:
    """A function as what graphs call."""
    if not callable(function) or isinstance(function, type):
        raise DeclarationError(str(here() or ""), f"A call of {function!r} was declared.", "It is no function.",
                               f"Give {CALLABLE}.")
    draw = global_draw(function)
    if draw is not None:
        name = getattr(plain(function), "__name__", "the function")
        raise DeclarationError(
            str(here() or ""), f"A call of {name} was declared, which draws by {draw}.",
            "A function must be pure: a seed fixes all draws of a graph, and estimators replay it at the same draws.",
            f"Let it take uniform numbers as its last argument, and declare its draw as a site: "
            f'g.sample("…", scg.Simulator({name}, …, uniforms=n)).')
    digest = code_digest(function)
    return Callee(function, tuple(shapes), digest.text, digest.portable, vjp, several, str(here() or ""))


def op_of(of: Callee) -> Op:
    """The op of a function's calls: whether a derivative passes them."""
    return vjp_call_op if of.several else opaque_call_op if of.vjp is None else call_op


def whole_shape(shape: Any) -> tuple[int, ...]:
    """The shape of what a function returns, of at most `MOST_DIMENSIONS`."""
    found = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if len(found) > MOST_DIMENSIONS or not all(is_whole(s) and s > 0 for s in found):
        raise refuse(f"shape={shape!r} was given for what a function returns.",
                     f"It is () for a number, or at most {MOST_DIMENSIONS} sizes.", "Give a tuple of whole numbers.")
    return tuple(int(s) for s in found)


def call(function: Callable, *args: Any, shape: Any = (), vjp: Callable | None = None,
         unless: Callable[[Sequence[Node]], Node | None] = lambda given: None) -> Node:
    """A function of numbers and arrays as a node; see `Graph.call`.

    `unless` is asked of what the function is given for a number that is not 0 where it is not called.
    """
    nodes = [as_real(constant(a)) for a in args]
    if not nodes:
        raise refuse(f"{getattr(function, '__name__', function)} was called with nothing.",
                     "What is the same in all replicates is no node.", "Call it yourself, and use the number.")
    if any(n.ndim > MOST_DIMENSIONS for n in nodes):
        raise refuse(f"{getattr(function, '__name__', function)} was called with an array of "
                     f"{max(n.ndim for n in nodes)} dimensions.", f"At most {MOST_DIMENSIONS} can be handed over.",
                     "Reshape it.")
    back = None if vjp is None else callee(vjp, [n.shape for n in nodes], several=True)
    of = callee(function, [whole_shape(shape)], back)
    over = unless(nodes)
    return make(op_of(of), tuple(nodes), (of,)) if over is None else make(op_of(of), (*nodes, over), (of, UNLESS))


# --- what compiled kernels refuse ------------------------------------------------------------------------------------
def not_compiled(of: Callee) -> SCGError:
    """What is raised where a kernel would need a function that is not compiled."""
    return SCGError(of.line, f"A kernel was to call {of.name}.", "Numba has not compiled it.",
                    'Put @numba.njit above it; or compile the graph with backend="numpy", which calls any function.')


def not_importable(of: Callee) -> SCGError:
    """What is raised where a module would need a function that it cannot import."""
    return SCGError(of.line, f"A graph that calls {of.name} was to be exported.",
                    f"The module imports that function, and none of that name is found in {of.module}.",
                    "Write it at the top level of a module of its own, and import it from there.")


@contextlib.contextmanager
def failing(functions: Iterable[Callee], reason: Callable[[BaseException], str]) -> Iterator[None]:
    """What functions raise in a kernel, or cannot be compiled for, as an error that names them.

    `reason` is the backend's: what an error says, in a line.
    """
    try:
        yield
    except SCGError:
        raise
    except Exception as error:
        called = {c.name: c.line for c in functions}
        if not called:
            raise
        said = f"{type(error).__name__}: {reason(error)}".removesuffix(".")
        raise SCGError(next(iter(called.values())), f"What the graph calls failed ({', '.join(called)}): {said}.",
                       "Functions are called with numbers for scalars and with read-only contiguous arrays for arrays, "
                       "of the graph's dtype, and must return what the graph was told.",
                       'Try them by themselves with such arguments, or the graph with backend="numpy".') from error
