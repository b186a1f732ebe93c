"""Random small discrete graphs, as recipes that can be declared in `scg` or computed in plain NumPy.

A recipe is a list of instructions; see `tests.laws.checks.machines` for what runs it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from tests.laws.checks.machines import Instruction, Script, arrays, instructions

MOST_DRAWS = 5

UNARY = ("tanh", "sin", "square", "shift", "bump")
BINARY = ("add", "sub", "mul")
SHAPES = ("sum", "first", "reverse", "stack")
CHOICES = ("where", "lookup", "tie", "whole", "guard")
SITES = ("bernoulli", "probs", "categorical")


@dataclass(frozen=True)
class Recipe(Script):
    """Instructions, and values of the parameters."""

    body: tuple[Instruction, ...]

    params = {"a": (), "b": (), "w": (2,), "table": (3,)}

    @property
    def jumps(self) -> bool:
        """Whether a value off a site's support may meet an op that is not defined there."""
        return any(n.what in CHOICES or (n.what == "scan" and n.k % 4 == 3) for n in self.body)

    @property
    def loops(self) -> bool:
        """Whether there is a scan."""
        return any(n.what == "scan" for n in self.body)

    def run(self, machine) -> None:
        """Run the instructions."""
        run(self, machine)


# --- running a recipe ------------------------------------------------------------------------------------------------
def run(recipe: Recipe, machine) -> None:
    """Run the instructions; `draws` are the numbers of values of each draw so far."""
    a, b, w, table = (machine.leaves[name] for name in recipe.params)
    values: list = [a, b, w]
    integers: list = []
    draws: list[int] = []
    for number, (what, i, j, k) in enumerate(recipe.body):
        x, y, z = (values[n % len(values)] for n in (i, j, k))
        if what in UNARY or what in BINARY:
            values.append(_arithmetic(what, x, y))
        elif what in SHAPES:
            values.append(_shaped(what, x, y, machine))
        elif what in CHOICES:
            if integers:
                d = integers[k % len(integers)]
                values.append(_chosen(what, d, _scalar(x), _scalar(y), machine, table))
        elif what == "scan":
            _scan(number, (x, y), k, machine, values, draws, table)
        elif what in SITES:
            _site(what, f"s{number}", (x, y, z), machine, values, integers, draws)
        else:
            machine.cost(f"c{number}", x * y if i != j else x)
    machine.cost("last", sum((_scalar(v) for v in values[3:]), start=a * b))


def _chosen(what: str, d, x, y, machine, table):
    """What is made of a site's value d: at ties, by whole quotients, or where the other branch has no value."""
    return {"where": lambda: np.where(d > 0.5, x, y), "lookup": lambda: machine.lookup(table, d),
            "tie": lambda: np.where((0.5 * d >= 0.5) | (d == 2.0), x, y),
            "whole": lambda: ((3.0 * d + 1.0) // 2.0) % 2.0 * x - (49.0 * d) // 49.0,
            "guard": lambda: np.where(d > 0.0, np.tanh(x) / d, y)}[what]()  # fmt: skip


def _scalar(x):
    return x if np.ndim(x) == 0 else x.sum()


def _arithmetic(what: str, x, y):
    return {"tanh": lambda: np.tanh(x), "sin": lambda: np.sin(x), "square": lambda: 0.5 * np.tanh(x) ** 2,
            "shift": lambda: 0.6 * x + 0.3, "bump": lambda: np.exp(-x * x), "add": lambda: x + y,
            "sub": lambda: x - 0.5 * y, "mul": lambda: np.tanh(x) * y}[what]()  # fmt: skip


def _shaped(what: str, x, y, machine):
    if what == "stack":
        return machine.functions.stack([_scalar(x), _scalar(y)])
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
        parameter = machine.functions.stack([_scalar(x), _scalar(np.tanh(arguments[1])), _scalar(np.sin(arguments[2]))])
    else:
        parameter = x if what == "bernoulli" else 0.05 + 0.9 * machine.functions.sigmoid(x)
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


# --- drawing recipes -------------------------------------------------------------------------------------------------
_numbers = st.integers(0, 11)


@st.composite
def recipes(draw) -> Recipe:
    """Two to four sites with deterministic nodes and costs between them."""
    between = st.lists(instructions((*UNARY, *BINARY, *SHAPES, *CHOICES, "cost"), _numbers), max_size=3)
    body: list[Instruction] = []
    for _ in range(draw(st.integers(2, 4))):
        body.extend(draw(between))
        body.append(draw(instructions((*SITES, "scan"), _numbers)))
    body.extend(draw(st.lists(instructions((*UNARY, *BINARY, *CHOICES, "cost"), _numbers), min_size=1, max_size=4)))
    return Recipe(tuple(body), arrays(draw, Recipe.params))
