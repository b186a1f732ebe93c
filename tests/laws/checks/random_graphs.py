"""Random small discrete graphs, as recipes that can be declared in `scg` or computed in plain NumPy.

A recipe is a list of instructions. Run on nodes it declares a graph; run on complex numbers, with the sites' values
given, it returns the costs and the probability of the path. So the expected cost and, by complex steps, its gradient
are enumerated here without any code of the package.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

import scg

PARAMS = {"a": (), "b": (), "w": (2,), "table": (3,)}
MOST_DRAWS = 5
STEP = 1e-40  # of the complex step: its square underflows beside any number


class Instruction(NamedTuple):
    """What to do, and three numbers that pick its arguments."""

    what: str
    i: int
    j: int
    k: int


UNARY = ("tanh", "sin", "square", "shift", "bump")
BINARY = ("add", "sub", "mul")
SHAPES = ("sum", "first", "reverse", "stack")
CHOICES = ("where", "lookup")
SITES = ("bernoulli", "probs", "categorical")


@dataclass(frozen=True)
class Recipe:
    """Instructions, and values of the parameters."""

    body: tuple[Instruction, ...]
    values: dict

    @property
    def jumps(self) -> bool:
        """Whether a value off a site's support may meet an op that is not defined there."""
        return any(n.what in CHOICES or (n.what == "scan" and n.k % 4 == 3) for n in self.body)

    @property
    def loops(self) -> bool:
        """Whether there is a scan."""
        return any(n.what == "scan" for n in self.body)


# --- running a recipe ------------------------------------------------------------------------------------------------
class Declared:
    """Runs on nodes: sites and costs are declared."""

    sigmoid = staticmethod(scg.sigmoid)
    stack = staticmethod(scg.stack)

    def __init__(self, name: str = "random"):
        self.graph = scg.Graph(name)

    @staticmethod
    def lookup(table, k):
        return table[k]

    def params(self):
        return [self.graph.param(n, s) for n, s in PARAMS.items()]

    def site(self, name: str, family: str, parameter):
        dist = {"bernoulli": lambda: scg.Bernoulli(logits=parameter), "probs": lambda: scg.Bernoulli(probs=parameter),
                "categorical": lambda: scg.Categorical(logits=parameter)}[family]()
        return self.graph.sample(name, dist)

    def cost(self, name: str, value):
        self.graph.cost(name, value)

    def scan(self, step, init, xs):
        return self.graph.scan(step, init, xs=xs)


class Computed:
    """Runs on numbers along one path of the sites: costs and the path's probability are summed and multiplied up."""

    stack = staticmethod(np.stack)

    def __init__(self, values: Sequence, path: Sequence[float]):
        self.values, self.path, self.at = values, path, 0
        self.total, self.probability = 0.0, 1.0

    @staticmethod
    def sigmoid(x):
        return 1.0 / (1.0 + np.exp(-x))

    @staticmethod
    def lookup(table, k):
        return table[int(k)]

    def params(self):
        return list(self.values)

    def site(self, name: str, family: str, parameter):
        if family == "categorical":
            k = self._next(())
            weights = np.exp(parameter)
            self.probability = self.probability * weights[int(k)] / weights.sum()
            return k
        x = self._next(np.shape(parameter))
        p = self.sigmoid(parameter) if family == "bernoulli" else parameter
        self.probability = self.probability * np.prod(x * p + (1.0 - x) * (1.0 - p))
        return x

    def _next(self, shape):
        n = int(np.prod(shape, dtype=int))
        out = np.array(self.path[self.at : self.at + n], dtype=float).reshape(shape)
        self.at += n
        return out

    def cost(self, name: str, value):
        self.total = self.total + np.sum(value)

    def scan(self, step, init, xs):
        carry, ys = init, []
        for x in xs:
            carry, y = step(carry, x)
            ys.append(y)
        return carry, np.stack(ys)


def run(recipe: Recipe, machine) -> list[int]:
    """Run the recipe; returns the number of values of each draw, in order."""
    a, b, w, table = machine.params()
    values, integers, draws = [a, b, w], [], []
    for number, (what, i, j, k) in enumerate(recipe.body):
        x, y, z = (values[n % len(values)] for n in (i, j, k))
        if what in UNARY or what in BINARY:
            values.append(_arithmetic(what, x, y))
        elif what in SHAPES:
            values.append(_shaped(what, x, y, machine))
        elif what in CHOICES:
            if integers:
                d = integers[k % len(integers)]
                looked_up = what == "lookup"
                values.append(machine.lookup(table, d) if looked_up else np.where(d > 0.5, _scalar(x), _scalar(y)))
        elif what == "scan":
            _scan(number, (x, y), k, machine, values, draws, table)
        elif what in SITES:
            _site(what, f"s{number}", (x, y, z), machine, values, integers, draws)
        else:
            machine.cost(f"c{number}", x * y if i != j else x)
    machine.cost("last", sum((_scalar(v) for v in values[3:]), start=a * b))
    return draws


def _scalar(x):
    return x if np.ndim(x) == 0 else x.sum()


def _arithmetic(what: str, x, y):
    return {"tanh": lambda: np.tanh(x), "sin": lambda: np.sin(x), "square": lambda: 0.5 * np.tanh(x) ** 2,
            "shift": lambda: 0.6 * x + 0.3, "bump": lambda: np.exp(-x * x), "add": lambda: x + y,
            "sub": lambda: x - 0.5 * y, "mul": lambda: np.tanh(x) * y}[what]()  # fmt: skip


def _shaped(what: str, x, y, machine):
    if what == "stack":
        return machine.stack([_scalar(x), _scalar(y)])
    if np.ndim(x) == 0:
        return x * 1.5
    return {"sum": lambda: x.sum(), "first": lambda: x[0], "reverse": lambda: x[::-1]}[what]()


def _site(what: str, name: str, arguments, machine, values: list, integers: list, draws: list) -> None:
    x = np.tanh(arguments[0])
    new = [3] if what == "categorical" else [2] * int(np.prod(np.shape(x), dtype=int))
    if len(draws) + len(new) > MOST_DRAWS:
        return
    draws.extend(new)
    if what == "categorical":
        parameter = machine.stack([_scalar(x), _scalar(np.tanh(arguments[1])), _scalar(np.sin(arguments[2]))])
    else:
        parameter = x if what == "bernoulli" else 0.05 + 0.9 * machine.sigmoid(x)
    value = machine.site(name, what, parameter)
    values.append(value)
    integers.append(value if np.ndim(value) == 0 else value[0])


def _scan(number: int, arguments, k: int, machine, values: list, draws: list, table) -> None:
    """Two steps of one site: costs before and after it, a carry that depends on it, outputs that are used later."""
    if len(draws) + 2 > MOST_DRAWS:
        return
    draws.extend([2, 2])
    x, y = _scalar(arguments[0]), np.tanh(_scalar(arguments[1]))

    def step(s, xt):
        machine.cost(f"before{number}", s * s * x if k % 2 else s * xt)
        h = machine.site(f"s{number}", "bernoulli", np.tanh(s * y + xt))
        new = [lambda: np.tanh(0.7 * s + h * x), lambda: 0.5 * s + h, lambda: h * np.sin(xt),
               lambda: np.where(h > 0.5, s, x) + machine.lookup(table, h)][k % 4]()  # fmt: skip
        machine.cost(f"after{number}", (h - np.tanh(s)) * y if k % 3 else np.sin(new + h))
        return new, new * h

    last, ys = machine.scan(step, y, values[2])
    values.extend([last, ys])


# --- what must come out ----------------------------------------------------------------------------------------------
def declare(recipe: Recipe) -> scg.Graph:
    """The recipe as a graph."""
    machine = Declared()
    run(recipe, machine)
    return machine.graph


class _Dry(Computed):
    """Finds out which draws there are."""

    def _next(self, shape):
        return np.zeros(shape)


def paths(recipe: Recipe) -> list[tuple[float, ...]]:
    """Every assignment of the sites."""
    sizes = run(recipe, _Dry([np.zeros(s) for s in PARAMS.values()], ()))
    return list(itertools.product(*(map(float, range(n)) for n in sizes)))


def expected_cost(recipe: Recipe, values: Sequence, every: Sequence) -> complex:
    """Σ over paths of probability × cost, at complex parameter values."""
    total = 0.0
    for path in every:
        machine = Computed(values, path)
        run(recipe, machine)
        total = total + machine.probability * machine.total
    return total


def reference(recipe: Recipe) -> tuple[float, dict[str, np.ndarray]]:
    """Expected cost and its gradient, by enumeration and complex steps."""
    every = paths(recipe)
    base = [np.asarray(recipe.values[n], dtype=complex) for n in PARAMS]
    cost = expected_cost(recipe, base, every).real
    grad = {}
    for at, (name, shape) in enumerate(PARAMS.items()):
        grad[name] = np.zeros(shape)
        for index in np.ndindex(shape):
            moved = [v.copy() for v in base]
            moved[at][index] += 1j * STEP
            grad[name][index] = np.imag(expected_cost(recipe, moved, every)) / STEP
    return float(cost), grad


# --- drawing recipes -------------------------------------------------------------------------------------------------
_numbers = st.integers(0, 11)
_number = st.floats(-1.5, 1.5, width=32).map(lambda v: round(float(v), 3))


def _instructions(kinds: Sequence[str]):
    return st.builds(Instruction, st.sampled_from(kinds), _numbers, _numbers, _numbers)


@st.composite
def recipes(draw) -> Recipe:
    """Two to four sites with deterministic nodes and costs between them."""
    between = st.lists(_instructions((*UNARY, *BINARY, *SHAPES, *CHOICES, "cost")), max_size=3)
    body: list[Instruction] = []
    for _ in range(draw(st.integers(2, 4))):
        body.extend(draw(between))
        body.append(draw(_instructions((*SITES, "scan"))))
    body.extend(draw(st.lists(_instructions((*UNARY, *BINARY, *CHOICES, "cost")), min_size=1, max_size=4)))
    values = {n: np.array([draw(_number) for _ in range(int(np.prod(s, dtype=int)))]).reshape(s)
              for n, s in PARAMS.items()}
    return Recipe(tuple(body), values)
