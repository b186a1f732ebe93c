"""Two machines that run one random script: one declares a graph, the other computes along one path of its sites.

The second works on complex numbers. So the expected cost of a script is a sum over paths, and its gradient comes from
complex steps, without any code of the package.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import scg

STEP = 1e-40  # of the complex step: its square underflows beside any number


class Instruction(NamedTuple):
    """What to do, and three numbers that pick its arguments."""

    what: str
    i: int
    j: int
    k: int


@dataclass(frozen=True)
class Script:
    """What is run, and values of the leaves; a grammar is a subclass that says how.

    Of the leaves that a grammar knows, those of `values` are there; data have the rows first.
    """

    body: tuple
    values: dict[str, np.ndarray]

    # shapes by name
    params = {}
    inputs = {}
    data = {}

    def run(self, machine) -> None:
        """Run the body on a machine."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Rows of the data; 1 if there are none."""
        return next((len(self.values[n]) for n in self.data if n in self.values), 1)

    def row(self, number: int) -> dict[str, np.ndarray]:
        """Values of the leaves in one row."""
        return {n: v[number] if n in self.data else v for n, v in self.values.items()}


# --- on nodes --------------------------------------------------------------------------------------------------------
FAMILIES = {
    "bernoulli": lambda p: scg.Bernoulli(logits=p), "probs": lambda p: scg.Bernoulli(probs=p),
    "categorical": lambda p: scg.Categorical(logits=p), "weights": lambda p: scg.Categorical(probs=p),
}  # fmt: skip


class Declared:
    """Runs on nodes: leaves, sites and costs are declared.

    Attributes
    ----------
    graph : Graph
    leaves : dict of str to Node
    before : dict of str to set of str
        For each site the names that were declared before it: nothing of these can depend on it.
    """

    functions: Any = scg

    def __init__(self, script: Script, name: str = "random"):
        self.graph = scg.Graph(name)
        self.before: dict[str, set[str]] = {}
        kinds = [(script.params, self.graph.param), (script.inputs, self.graph.input), (script.data, self.graph.data)]
        self.leaves = {n: declare(n, shape) for known, declare in kinds
                       for n, shape in known.items() if n in script.values}

    @staticmethod
    def lookup(table, k):
        return table[k]

    @staticmethod
    def log_prob(family: str, parameter, value):
        return FAMILIES[family](parameter).log_prob(value)

    @staticmethod
    def divergence(family: str, p, q):
        return scg.kl_divergence(FAMILIES[family](p), FAMILIES[family](q))

    def named(self, name: str, value):
        return self.graph.node(name, value)

    def site(self, name: str, family: str, parameter, **options):
        self.before[name] = {*self.graph.nodes, *self.graph.costs}
        return self.graph.sample(name, FAMILIES[family](parameter), **options)

    def cost(self, name: str, value, scale: float = 1.0):
        self.graph.cost(name, value, scale=scale)

    def scan(self, step, init, xs=None, length=None):
        return self.graph.scan(step, init, xs=xs, length=length)


# --- on numbers ------------------------------------------------------------------------------------------------------
def _sigmoid(x):
    low = np.exp(np.where(np.real(x) > 0.0, -x, x))
    return np.where(np.real(x) > 0.0, 1.0, low) / (1.0 + low)


def _softmax(x):
    e = np.exp(x - np.real(x).max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _log_softmax(x):
    return x - _logsumexp(x)[..., None]


def _logsumexp(x):
    top = np.real(x).max(axis=-1, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]


def _softplus(x):
    return np.where(np.real(x) > 0.0, x, 0.0) + np.log1p(np.exp(np.where(np.real(x) > 0.0, -x, x)))


def _two(p):
    return np.stack([1.0 - p, p], axis=-1)


# What `scg` has and NumPy lacks, or has for real numbers only: the imaginary part is carried along as a derivative,
# through stopped gradients too.
NUMBERS = SimpleNamespace(
    stack=np.stack, sigmoid=_sigmoid, softmax=_softmax, stop_gradient=lambda x: x, floor=lambda x: np.floor(np.real(x)),
    softplus=_softplus, log_softmax=_log_softmax, logsumexp=_logsumexp,
    logaddexp=lambda x, y: y + _softplus(x - y),
    abs=lambda x: x * np.sign(np.real(x)), relu=lambda x: x * (np.real(x) > 0.0),
    clip=lambda x, low, high: np.where(np.real(x) < low, low, np.where(np.real(x) > high, high, x)),
    one_hot=lambda k, n: 1.0 * (np.arange(n) == k))  # fmt: skip
HELD = SimpleNamespace(**{**vars(NUMBERS), "stop_gradient": np.real})  # what is stopped is held constant

# Probabilities of all values, along a last dimension.
PROBABILITIES = {
    "bernoulli": lambda p: _two(_sigmoid(p)), "probs": _two, "categorical": _softmax,
    "weights": lambda p: p / p.sum(axis=-1, keepdims=True),
}  # fmt: skip


class Computed:
    """Runs on numbers along one path of the sites: costs are summed, and the path's probability multiplied, up.

    Without a path every site is 0, and `sizes` comes to hold the number of values of each draw.
    """

    def __init__(self, leaves: Mapping[str, Any], path: Sequence[float] | None = None, functions: Any = NUMBERS):
        self.leaves, self.path, self.functions = leaves, path, functions
        self.sizes: list[int] = []
        self.total, self.probability = 0.0, 1.0

    @staticmethod
    def lookup(table, k):
        return table[np.asarray(k, dtype=int)]

    @staticmethod
    def log_prob(family: str, parameter, value):
        return _of(LOG_PROBABILITIES[family](np.asarray(parameter)), value)

    @staticmethod
    def divergence(family: str, p, q):
        gap = LOG_PROBABILITIES[family](np.asarray(p)) - LOG_PROBABILITIES[family](np.asarray(q))
        return (PROBABILITIES[family](np.asarray(p)) * gap).sum(axis=-1)

    @staticmethod
    def named(name: str, value):
        return value

    def site(self, name: str, family: str, parameter, shape=None, per_row=False):
        p = PROBABILITIES[family](np.asarray(parameter))
        x = self._next(p.shape[:-1] if shape is None else shape, p.shape[-1])
        self.probability = self.probability * np.prod(_of(p, x))
        return x

    def _next(self, shape: tuple[int, ...], values: int):
        at, count = len(self.sizes), int(np.prod(shape, dtype=int))
        self.sizes += [values] * count
        return np.array([0.0] * count if self.path is None else self.path[at : at + count]).reshape(shape)

    def cost(self, name: str, value, scale: float = 1.0):
        self.total = self.total + scale * np.sum(value)

    def scan(self, step, init, xs=None, length=None):
        carry, ys = init, []
        for t in range(len(xs) if length is None else length):
            carry, y = step(carry, None if xs is None else xs[t])
            ys.append(y)
        if isinstance(ys[0], tuple):
            return carry, tuple(np.stack(part) for part in zip(*ys))
        return carry, None if ys[0] is None else np.stack(ys)


def _of(p, x):
    """The probabilities of the values `x`, from those of all values."""
    p = np.broadcast_to(p, (*np.shape(x), p.shape[-1]))
    return np.take_along_axis(p, np.asarray(x, dtype=int)[..., None], axis=-1)[..., 0]


# And their logarithms: 1 − p of a p near 1 has lost its digits.
LOG_PROBABILITIES = {
    "bernoulli": lambda p: np.stack([-_softplus(p), -_softplus(-p)], axis=-1), "probs": lambda p: np.log(_two(p)),
    "categorical": _log_softmax, "weights": lambda p: np.log(PROBABILITIES["weights"](p)),
}  # fmt: skip


# --- what must come out ----------------------------------------------------------------------------------------------
def declared(script: Script) -> Declared:
    """The script as a graph, with what the machine noted."""
    machine = Declared(script)
    script.run(machine)
    return machine


def declare(script: Script) -> scg.Graph:
    """The script as a graph."""
    return declared(script).graph


def paths(script: Script) -> list[tuple[float, ...]]:
    """Every assignment of the sites."""
    machine = Computed(script.row(0))
    script.run(machine)
    return list(itertools.product(*(map(float, range(n)) for n in machine.sizes)))


def expected_cost(script: Script, moved: Mapping[str, np.ndarray], every: Sequence, functions=NUMBERS) -> complex:
    """Σ over paths of probability × cost, averaged over the rows, at complex values of some leaves."""
    total = 0.0
    for number in range(script.rows):
        leaves = {**script.row(number), **moved}
        for path in every:
            machine = Computed(leaves, path, functions)
            script.run(machine)
            total = total + machine.probability * machine.total
    return total / script.rows


def reference(script: Script, functions=NUMBERS) -> tuple[float, dict[str, np.ndarray]]:
    """Expected cost and its gradient, by enumeration and complex steps; under `HELD` that with ⊥x held constant."""
    with np.errstate(all="ignore"):  # of branches that are not taken
        return _reference(script, functions)


def _reference(script: Script, functions) -> tuple[float, dict[str, np.ndarray]]:
    every = paths(script)
    cost = expected_cost(script, {}, every, functions).real
    grad = {}
    for name, shape in script.params.items():
        grad[name] = np.zeros(shape)
        for index in np.ndindex(shape):
            moved = np.array(script.values[name], dtype=complex)
            moved[index] += 1j * STEP
            grad[name][index] = np.imag(expected_cost(script, {name: moved}, every, functions)) / STEP
    return float(cost), grad


# --- drawing scripts -------------------------------------------------------------------------------------------------
wide = st.sampled_from([0.0, 1.0, 1e-9, -300.0, 40.0])  # what a data set may hold
usual = st.floats(-1.5, 1.5, width=32).map(lambda v: round(float(v), 3))


def instructions(kinds: Sequence[str], picks: st.SearchStrategy[int]) -> st.SearchStrategy[Instruction]:
    """An instruction of one of the kinds."""
    return st.builds(Instruction, st.sampled_from(kinds), picks, picks, picks)


def arrays(draw, shapes: Mapping[str, tuple[int, ...]], numbers=usual) -> dict[str, np.ndarray]:
    """Values of leaves by name."""
    return {n: np.array([draw(numbers) for _ in range(int(np.prod(s, dtype=int)))]).reshape(s)
            for n, s in shapes.items()}
