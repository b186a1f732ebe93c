"""Values that params start from: arrays, or functions that draw them."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from scg.errors import CallError, DeclarationError, extended, in_a_row
from scg.ir.location import calling, here
from scg.noise import h64

Init = Any  # an array, or ``init(rng, shape) -> array``


def checked(name: str, shape: tuple[int, ...], init: Init) -> dict[str, Init]:
    """What a declaration gives as `init`, by the param's name, and nothing if that is None; refused if it cannot be.

    Raises
    ------
    DeclarationError
    """
    if init is None:
        return {}
    if not callable(init):
        return {name: _array(str(here() or ""), name, shape, init)}
    _check_signature(name, init)
    return {name: Drawn(name, init)}


def _check_signature(name: str, init: Callable) -> None:
    """Refuse a function that cannot be called as ``init(rng, shape)``."""
    try:
        signature = inspect.signature(init)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return
    try:
        signature.bind(None, None)
    except TypeError:
        called = f"{getattr(init, '__name__', 'a function')}{signature}"
        raise DeclarationError(str(here() or ""), f'Param "{name}" was given init={called}.',
                               "It is called with a generator and the shape.",
                               "Let it take these two: init=lambda rng, shape: rng.normal(size=shape).") from None


class Drawn:
    """An initialiser of the user's, which may be a function that cannot be pickled."""

    def __init__(self, name: str, init: Callable | None):
        self.name, self.init = name, init

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]):
        if self.init is None:
            raise DeclarationError(str(here() or ""), f'An initial value of param "{self.name}" was asked for.',
                                   "The graph was pickled, and the function that draws it cannot be.",
                                   "Give init= a function of a module, not one defined within another, or a lambda.")
        return self.init(rng, shape)

    def __reduce__(self):
        try:
            pickle.dumps(self.init)
        except Exception:  # whatever an object says that cannot be
            return Drawn, (self.name, None)
        return Drawn, (self.name, self.init)


def initial_values(graph: str, inits: Mapping[str, tuple[tuple[int, ...], Init]], seed: int) -> dict[str, np.ndarray]:
    """Values by name. Each is drawn from a generator of its own, so that it does not depend on the others.

    Raises
    ------
    DeclarationError
        If an initialiser returns something of another shape, or not finite.
    """
    return {name: _array(calling(graph), name, shape, _drawn(init, seed, name, shape) if callable(init) else init)
            for name, (shape, init) in inits.items()}


def brought(params: Iterable[Any]) -> dict[str, np.ndarray]:
    """What params start from that estimators and baselines bring (`scg.surrogate.draft.Brought`), at the seed 0."""
    return initial_values("", starts(params), 0)


def starts(params: Iterable[Any]) -> dict[str, tuple[tuple[int, ...], Init]]:
    """Shape and start by name, of those that have one."""
    return {p.name: (p.leaf.shape, p.init) for p in params if p.init is not None}


def starts_of(graph) -> dict[str, tuple[tuple[int, ...], Any]]:
    """The shapes and initial values of a graph's params that have one."""
    return {name: (graph.params[name].shape, init) for name, init in graph.inits.items()}


def offered(error: CallError, known: Iterable[str], values: Any) -> CallError:
    """What is wrong with the values of a call; of those that are missing it is said which `known` ones f.init has."""
    missing = [f'"{name}"' for name in known if isinstance(values, Mapping) and name not in values]
    if not missing:
        return error
    return extended(error, f"f.init(rng) has {in_a_row(missing)} to begin with: f({{**f.init(0), **values}}).")


def _drawn(init: Callable, seed: int, name: str, shape: tuple[int, ...]):
    of = init.name if isinstance(init, Drawn) else name  # what stands for a param of the user's starts where that does
    return init(np.random.default_rng([seed, h64(of)]), shape)


def _array(where: str, name: str, shape: tuple[int, ...], value) -> np.ndarray:
    try:
        array = np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), shape))
    except Exception:  # whatever is no array of numbers, or of another shape
        array = None
    if array is None or not np.all(np.isfinite(array)):
        raise DeclarationError(where, f'The initial value of param "{name}" is {value!r}.',
                               f"It must be finite numbers of shape {shape}.",
                               "Give an array, or a function init(rng, shape) that returns one.")
    return array
