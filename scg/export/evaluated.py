"""The formulas of a surrogate at numbers: every cost and term in each replicate, under the noise of a call.

The draws are those of the call; all else is computed from the formulas, so that they can be held against the kernel.
Only what jumps is decided as the call decides it: to floats 0.1 + 0.2 is above 0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scg.analysis.reach import sum_of
from scg.backend import load
from scg.errors import NonFiniteError
from scg.export.draws import recorded
from scg.export.names import names_of
from scg.initial import brought
from scg.ir.location import calling
from scg.ir.node import Node
from scg.passes.outputs import program_of
from scg.program import Division
from scg.run.by_name import ByName
from scg.run.calls import Calls
from scg.run.values import bind
from scg.simplification import simplified

Record = Callable[[Mapping[str, tuple[Node, Any]]], Mapping[str, np.ndarray]]  # of draws, by their names


class Evaluated:
    """What `Surrogate.evaluate` returns; arrays have the shape (rows, samples, *shape).

    Attributes
    ----------
    costs : dict of str to array
    terms : tuple of array
        In the order of ``s.terms``. Their values are of little interest, their gradients are.
    values : dict of str to array
        The numbers behind every symbol, by its name.
    seed : int
        ``f(values, samples=…, rng=seed)`` has the same draws.
    """

    def __init__(self, surrogate, given: Mapping[str, np.ndarray], division: Division, seed: int, record: Record):
        from scg.export.sympy.carried import Rates
        from scg.export.sympy.replicates import Replicates

        self._surrogate, self._record, self.seed = surrogate, record, seed
        self._shape = (division.rows, division.samples)
        self.values: dict[str, np.ndarray] = ByName({}, "e.values", "The names are those of the symbols.")
        self._numbers: dict[str, np.ndarray] = {}
        self._learn(given)
        self._replicates = Replicates(self._numbers, division.rows * division.samples, _means_of_others(division))
        self._decide()
        self._replicates.rate = Rates(surrogate._converter(False), self._replicates).of

    def _decide(self) -> None:
        """Learn what jumps where in the call, of all formulas so far."""
        decided = self._surrogate._decided()
        asked = {e.name: (e.node, e.frame) for elements in decided.values() for e in elements
                 if e.name not in self._numbers}
        if asked:
            self._numbers.update({name: a.reshape(-1, *a.shape[2:]) for name, a in self._record(asked).items()})
        self._replicates.decided = decided

    def _learn(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.values.update(arrays)
        self._numbers.update({name: a.reshape(-1, *a.shape[2:]) for name, a in arrays.items()})

    @property
    def costs(self) -> dict[str, np.ndarray]:
        convert = self._surrogate._converter(False).scalar
        return ByName({name: self.of(convert(sum_of([c]))) for name, c in self._surrogate.costs.items()}, "e.costs",
                      "Costs have the names that g.cost gave them.")

    @property
    def terms(self) -> tuple[np.ndarray, ...]:
        return tuple(self.of(term.sympy()) for term in self._surrogate.terms)

    @property
    def cost(self) -> np.ndarray:
        """The sum of the costs in each replicate."""
        return np.sum([*self.costs.values()], axis=0)

    def gradient(self, name: str) -> np.ndarray:
        """What each replicate contributes to a gradient, (rows, samples, *shape): their mean is the estimate.

        Raises
        ------
        NonFiniteError
            If the formula is 0/0, or the like, in one of them.
        """
        formula = self._surrogate.gradient(name)
        if more := {n: b for n, b in self._surrogate._draws().items() if n not in self.values}:  # of an objective
            self._learn(self._record(more))
        self._decide()
        found = self.of(formula, self._surrogate._target(name).shape)
        if _undefined(found).any():
            raise NonFiniteError(
                calling(self._surrogate.derivation.graph.name), f'The gradient in "{name}" was to be evaluated.',
                f"Its formula is undefined, such as 0/0, in {int(_undefined(found).sum())} of the replicates.",
                "Call f, which knows what p**x is that is constant at x = 0; or take other values.")
        return found

    def of(self, formula, shape: tuple[int, ...] = ()) -> np.ndarray:
        """A formula in the symbols of the surrogate, in each replicate.

        Parameters
        ----------
        formula : sympy.Expr or sympy.Lambda
        shape : tuple of int
            Of a function of indices, such as ``s.gradient("W")``: how many there are of each.
        """
        name = str(getattr(formula, "name", formula))
        if not shape and name in self.values:
            return self.values[name]
        if not shape:
            return self._replicates.of(formula).reshape(self._shape)
        found = self._replicates.over(formula.expr, formula.variables, shape)
        return np.moveaxis(found, -1, 0).reshape(*self._shape, *shape)

    def __repr__(self) -> str:
        rows, samples = self._shape
        return (f"<formulas in {samples} replicates of {rows} rows, seed {self.seed}: costs {', '.join(self.costs)}; "
                f"{len(self._surrogate.terms)} terms>")


def _undefined(found: np.ndarray) -> np.ndarray:
    """In which replicates some element is no number."""
    return np.isnan(found).any(axis=tuple(range(2, found.ndim)))


def evaluated(surrogate, values: Mapping[str, Any], samples: int, rng, state) -> Evaluated:
    """See `Surrogate.evaluate`."""
    derivation = surrogate.derivation
    initial = {s.name: float(s.initial) for s in derivation.draft.states}
    given = brought(derivation.draft.params) | dict(values)

    def call(draws: Mapping[str, tuple[Node, Any]], rng):
        nodes = {name: recorded(node, loop) for name, (node, loop) in draws.items()}
        program = simplified(program_of(derivation, "float64", False, tuple(nodes), nodes))
        calls = Calls(program.layout, load("numpy").compile(program), initial, False, False)
        return calls.estimate(given, samples, rng, state)

    outcome = call(surrogate._draws(), rng)
    numbers = dict(outcome.record) | _leaves(surrogate, given, state, outcome._division)
    return Evaluated(surrogate, numbers, outcome._division, outcome.seed,
                     lambda draws: dict(call(draws, outcome.seed).record))


def _leaves(surrogate, values: Mapping[str, Any], state, division: Division) -> dict[str, np.ndarray]:
    derivation = surrogate.derivation
    names, bound = names_of(derivation), bind(derivation.leaves, values)
    shape = division.rows, division.samples
    found = {}
    for name, array in bound.arrays.items():
        each = array[:, None] if name in derivation.graph.rows else array[None, None]
        found[names.given(name)] = np.broadcast_to(each, (*shape, *each.shape[2:]))
    for s in derivation.draft.states:
        array = np.broadcast_to(np.asarray((state or {}).get(s.name, s.initial), float), s.leaf.shape)
        found[names.brought(s.leaf)] = np.broadcast_to(array, (*shape, *s.leaf.shape))
    return found


def _means_of_others(division: Division):
    """The mean over the other replicates of each one's leave-one-out group, 0 where there are none."""
    starts = np.arange(division.groups, dtype=np.int64) * division.samples // division.groups
    sizes = np.diff(np.append(starts, division.samples))

    def others(x: np.ndarray) -> np.ndarray:
        if not len(starts):
            return np.zeros_like(x)
        lanes = x.reshape(*x.shape[:-1], division.rows, division.samples)
        sums = np.repeat(np.add.reduceat(lanes, starts, axis=-1), sizes, axis=-1)
        count = np.repeat(sizes, sizes) - 1
        return ((sums - lanes) / np.maximum(count, 1)).reshape(x.shape)

    return others
