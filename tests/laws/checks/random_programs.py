"""Random programs, richer than `random_graphs`: rows of data, scans of every kind, vectors and tables.

Scans have carries of one or two parts, run along literals, data or nothing, for one step or two, read what stands
outside of them, and put out what later sites and costs use. Sites may be shared by the rows or drawn for each, have
literal parameters, and be drawn twice. See `tests.laws.checks.machines` for what runs a program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.laws.checks.machines import Instruction, Script, arrays, instructions, usual, wide

MOST_PATHS = 32
ROWS = 2
# Added where there is a kink, so that its two sides are not equal: which derivative that has is not asked here.
OFF = 0.01371
APART = np.array([0.0, 0.01371, 0.02913])

# --- instructions ----------------------------------------------------------------------------------------------------
# From any x and a scalar y; `f` has the functions that NumPy lacks.
ELEMENTWISE: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "tanh": lambda f, x, y: np.tanh(1.3 * x),
    "shift": lambda f, x, y: 0.6 * x + 0.3,
    "sin": lambda f, x, y: np.sin(x),
    "power": lambda f, x, y: (1.3 + np.tanh(x) ** 2) ** 1.7,
    "cube": lambda f, x, y: np.tanh(x) ** 3,
    "inverse": lambda f, x, y: 1.0 / (2.0 + x * x),
    "root": lambda f, x, y: np.sqrt(1.0 + x * x),
    "log": lambda f, x, y: np.log(1.5 + x * x),
    "sigmoid": lambda f, x, y: f.sigmoid(x),
    "softplus": lambda f, x, y: f.softplus(x),
    "abs": lambda f, x, y: f.abs(x - OFF),
    "relu": lambda f, x, y: f.relu(x - OFF),
    "clip": lambda f, x, y: f.clip(x, -0.4 - OFF, 0.6 + OFF),
    "stop": lambda f, x, y: f.stop_gradient(x),
    "straight through": lambda f, x, y: np.tanh(x) + f.stop_gradient(np.sin(y) - np.tanh(x)),
    "quotient": lambda f, x, y: x / (1.5 + np.tanh(y)),
    "floor": lambda f, x, y: f.floor(f.stop_gradient(2.0 * x) + OFF),
    "add": lambda f, x, y: x + y,
    "subtract": lambda f, x, y: x - 0.5 * y,
    "multiply": lambda f, x, y: np.tanh(x) * y,
    "maximum": lambda f, x, y: np.maximum(x, np.tanh(y) + OFF),
    "minimum": lambda f, x, y: np.minimum(x, np.tanh(y) + OFF),
    "logaddexp": lambda f, x, y: f.logaddexp(x, np.tanh(y)),
}
# From a vector v of two or three elements and a scalar y.
VECTORS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "logsumexp": lambda f, v, y: f.logsumexp(v),
    "softmax": lambda f, v, y: f.softmax(v),
    "log_softmax": lambda f, v, y: f.log_softmax(v) * y,
    "cumsum": lambda f, v, y: np.cumsum(v),
    "max": lambda f, v, y: np.max(v + APART[: len(v)]),
    "min": lambda f, v, y: np.min(v + APART[: len(v)]),
    "mean": lambda f, v, y: v.mean(),
    "reverse": lambda f, v, y: v[::-1],
    "outer": lambda f, v, y: np.outer(v, v * y).sum(axis=0),
    "stack": lambda f, v, y: f.stack([v[0], y]),
    "concatenate": lambda f, v, y: np.concatenate([v, v[:1] * y])[-2:],
}
OTHERS = ("matrix @ vector", "vector @ matrix", "divergence", "name")
# From values of sites: off the support they may jump, or have no value.
READINGS = ("where", "ties", "guard", "divide", "remain", "both", "count", "table", "rows", "one_hot", "log_prob")
FAMILIES = ("bernoulli", "probs", "categorical", "matrix", "weights")
LITERALS = {"bernoulli": 0.4, "probs": 0.3, "categorical": np.array([0.3, -0.4, 0.1]),
            "matrix": np.array([[0.3, -0.4, 0.1], [0.0, 0.2, -0.3]]), "weights": np.array([0.2, 0.5, 0.4])}


class Draw(NamedTuple):
    """A site: its family, what picks its parameter, and how it is declared."""

    family: str
    i: int
    j: int
    literal: bool = False
    twice: bool = False
    per_row: bool = False


class Loop(NamedTuple):
    """A scan: what it runs along, what a step does, and what it puts out."""

    i: int
    j: int
    k: int
    length: int
    along: str
    pair: bool  # whether the carry has a second part, a vector
    site: str  # what its site's parameter is made of
    second: bool  # whether there is another site
    reads: tuple[str, ...]  # what is made of the draw, and added up
    carry: str
    before: str  # a cost before the site
    after: str  # a cost after it
    ys: str
    scale: float = 1.0


class Cost(NamedTuple):
    """A cost: the product of two values, scaled."""

    i: int
    j: int
    scale: float = 1.0


LOOP = {
    "length": (1, 2), "along": ("nothing", "literal", "vector"), "pair": (False, True),
    "site": ("carry", "outer", "literal", "units", "none"), "second": (False, False, True),
    "carry": ("tanh", "add", "stop", "draw", "keep"), "before": ("none", "square", "along", "outer draw"),
    "after": ("none", "difference", "carry", "read"), "ys": ("carry", "before", "draw", "vector", "none"),
    "scale": (1.0, 0.3),
}  # fmt: skip
SMOOTH = ("times", "log_prob", "loop", "named")  # of what may be made of a draw in a step
READS = (*SMOOTH, "where", "table", "rows", "one_hot", "outer draw")


@dataclass(frozen=True)
class Program(Script):
    """Instructions, sites, scans and costs, and values of the leaves: with data `x` or without.

    A last cost adds up the `last` latest values.
    """

    body: tuple[Instruction | Draw | Loop | Cost, ...]
    last: int = 100

    params = {"a": (), "b": (), "w": (2,), "t": (3,), "M": (2, 3)}
    inputs = {"c": ()}
    data = {"x": (2,)}

    @property
    def scale(self) -> float:
        """Of numbers that are quadratic in the data, at least 1: rounding is relative to it where they cancel."""
        return max(1.0, float(np.max(np.abs(self.values.get("x", 0.0)))) ** 2)

    @property
    def jumps(self) -> bool:
        """Whether a value off a site's support may meet an op that is not defined there."""
        return any(n.what in READINGS if isinstance(n, Instruction) else
                   isinstance(n, Loop) and not set(n.reads) <= set(SMOOTH) for n in self.body)

    @property
    def loops(self) -> set[str]:
        """Names of the sites that a scan may hold."""
        return {f"s{at}{part}" for at, n in enumerate(self.body) if isinstance(n, Loop) for part in ("", "b")}

    def run(self, machine) -> None:
        """Run the body, and declare the last cost."""
        running = Running(machine)
        for number, n in enumerate(self.body):
            running.do(number, n)
        machine.cost("last", sum((_scalar(v) for v in running.values[-self.last:]), start=running.b), scale=0.5)


# --- running a program -----------------------------------------------------------------------------------------------
def _scalar(x):
    return x if np.ndim(x) == 0 else x.sum() * 0.7


def _bounded(x):
    """As a logit: so that no path is too improbable."""
    return 1.5 * np.tanh(x)


class Running:
    """A program that is being run: its values so far, from which numbers pick, the latest first.

    Attributes
    ----------
    values : list
        Scalars and vectors.
    draws : list
        Scalar values of sites, with how many values each may take.
    densities : list
        Family, parameter and value of sites.
    paths : int
        Paths of the sites so far.
    """

    def __init__(self, machine):
        self.machine, self.f = machine, machine.functions
        leaf = machine.leaves
        self.b, self.w, self.table, self.matrix = (leaf[name] for name in ("b", "w", "t", "M"))
        self.values = [leaf["a"], self.b, self.w, self.table, leaf["c"] * leaf["a"]]
        if "x" in leaf:
            self.values += [leaf["x"], leaf["x"] * self.w]
        self.draws: list = []
        self.densities: list = []
        self.paths = 1

    def do(self, number: int, n) -> None:
        """Run one instruction; a site that would make too many paths is left out, and a scan gets fewer sites."""
        if isinstance(n, Draw):
            self.draw(f"s{number}", n)
        elif isinstance(n, Loop):
            self.loop(number, n)
        elif isinstance(n, Cost):
            self.machine.cost(f"c{number}", self.pick(n.i) * self.scalar(n.j), scale=n.scale)
        elif n.what not in READINGS or self.draws:
            self.values.append(self.computed(number, n))

    # --- arguments ---------------------------------------------------------------------------------------------------
    def pick(self, i: int):
        """Any value."""
        return self.values[-1 - i % len(self.values)]

    def scalar(self, i: int):
        """A scalar."""
        return _scalar(self.pick(i))

    def vector(self, size: int, i: int):
        """A vector of two or three elements."""
        found = [v for v in self.values if np.shape(v) == (size,)]
        return found[-1 - i % len(found)]

    def drawn(self, i: int):
        """A scalar value of a site, and how many values it may take."""
        return self.draws[-1 - i % len(self.draws)]

    def binary(self, i: int):
        """A scalar value of a site that is 0 or 1; 1 if there is none."""
        found = [d for d, size in self.draws if size == 2]
        return found[-1 - i % len(found)] if found else 1

    # --- deterministic instructions ----------------------------------------------------------------------------------
    def computed(self, number: int, n: Instruction):
        """The value of an instruction."""
        if n.what in ELEMENTWISE:
            return ELEMENTWISE[n.what](self.f, self.pick(n.i), self.scalar(n.j))
        if n.what in VECTORS:
            return VECTORS[n.what](self.f, self.vector(2 + n.k % 2, n.i), self.scalar(n.j))
        if n.what in READINGS:
            return self.read(n)
        return {"matrix @ vector": lambda: self.matrix @ self.vector(3, n.i),
                "vector @ matrix": lambda: self.vector(2, n.i) @ self.matrix,
                "divergence": lambda: self.machine.divergence("bernoulli", self.pick(n.i), self.scalar(n.j)),
                "name": lambda: self.machine.named(f"n{number}", self.pick(n.i) * 1.1)}[n.what]()  # fmt: skip

    def read(self, n: Instruction):
        """What is made of a site's value."""
        d, size = self.drawn(n.i)
        x, y = self.scalar(n.j), self.scalar(n.k)
        other, _ = self.drawn(n.k)
        return {"where": lambda: np.where(d > 0.5, x, np.sin(y)),
                "ties": lambda: np.where((0.5 * d >= 0.5) | (d == other), x, y) * (1.0 * (0.3 * d <= 0.3) + (d != 1.0)),
                "guard": lambda: np.where(d > 0.0, self.guarded(n.k, x, d), y),
                "divide": lambda: ((3.0 * d + 1.0) // 2.0) * x + (49.0 * d) // 49.0,
                "remain": lambda: (2.5 * d - 2.0) % 1.5 * x - (d - 2.0 * other) % -1.0 + (49.0 * d + 1.0) % 49.0,
                "both": lambda: np.where(((d > 0.5) & (other < 0.5)) | (d == size - 1.0), x, np.tanh(y)),
                "count": lambda: ((d > 0.5) * 1.0 + (other == 1.0)) * x,
                "table": lambda: self.machine.lookup(self.vector(3, n.j), d),
                "rows": lambda: self.machine.lookup(self.matrix if size == 2 else self.matrix.T, d) * y,
                "one_hot": lambda: self.f.one_hot(d, size) * x,
                "log_prob": lambda: self.log_prob(n)}[n.what]()  # fmt: skip

    def guarded(self, k: int, x, d):
        """What has no value, or no derivative, where d is 0."""
        return [lambda: x / d, lambda: np.log(d) * x, lambda: np.sqrt(d * (1.5 + np.tanh(x))),
                lambda: (1.5 + np.tanh(x)) ** (1.0 / d)][k % 4]()  # fmt: skip

    def log_prob(self, n: Instruction):
        """The log-probability of a site's value under its own distribution, or another one."""
        if n.k % 2 and self.densities:
            return self.machine.log_prob(*self.densities[-1 - n.i % len(self.densities)])
        d, size = self.drawn(n.i)
        family, parameter = ("bernoulli", self.scalar(n.j)) if size == 2 else ("categorical", self.vector(3, n.j))
        return self.machine.log_prob(family, parameter, d)

    # --- sites -------------------------------------------------------------------------------------------------------
    def draw(self, name: str, n: Draw) -> None:
        """A site of the graph."""
        parameter = LITERALS[n.family] if n.literal else self.parameter(n)
        family = "categorical" if n.family == "matrix" else n.family
        two = family in ("bernoulli", "probs")
        batch = np.shape(parameter) if two else np.shape(parameter)[:-1]
        shape = (2, *batch) if n.twice else batch
        if not self.afford((2 if two else 3) ** int(np.prod(shape, dtype=int))):
            return
        options: dict = {"shape": shape} if n.twice else {}
        if n.per_row and "x" in self.machine.leaves:
            options["per_row"] = True
        value = self.machine.site(name, family, parameter, **options)
        if family != "weights":  # their density is 0 off the support, and its logarithm infinite at MuProp's mean
            self.densities.append((family, parameter, value))
        self.values.append(value if np.ndim(value) < 2 else value.sum(axis=0))
        self.draws += [(value if np.ndim(value) == 0 else value.ravel()[at], 2 if two else 3)
                       for at in ((0,) if np.ndim(value) == 0 else (0, -1))]

    def afford(self, paths: int) -> bool:
        """Whether there may be so many paths for each that there is."""
        if self.paths * paths > MOST_PATHS:
            return False
        self.paths *= paths
        return True

    def parameter(self, n: Draw):
        """A site's parameter, from the values so far."""
        return {"bernoulli": lambda: _bounded(self.pick(n.i)),
                "probs": lambda: 0.1 + 0.8 * self.f.sigmoid(self.scalar(n.i)),
                "categorical": lambda: _bounded(self.vector(3, n.i)),
                "matrix": lambda: self.f.stack([_bounded(self.vector(3, n.i)), np.sin(self.vector(3, n.j))]),
                "weights": lambda: 0.2 + self.f.softmax(self.vector(3, n.i)) * (1.5 + np.tanh(self.scalar(n.j))),
                }[n.family]()  # fmt: skip

    # --- scans -------------------------------------------------------------------------------------------------------
    def loop(self, number: int, n: Loop) -> None:
        """A scan, and what it leaves behind."""
        while not self.afford(2 ** (({"units": 2, "none": 0}.get(n.site, 1) + n.second) * n.length)):
            n = n._replace(second=False) if n.second else n._replace(site="carry" if n.site == "units" else "none")
        along = {"nothing": None, "literal": np.array([0.7, -0.4])[: n.length],
                 "vector": self.vector(2, n.k)[: n.length]}[n.along]  # fmt: skip
        start = self.scalar(n.i)
        init = (start, np.tanh(self.vector(2, n.k))) if n.pair else start
        last, ys = self.machine.scan(Step(self, number, n), init, xs=along, length=n.length if along is None else None)
        self.values += last if n.pair else (last,)
        ys = ys if isinstance(ys, tuple) else () if ys is None else (ys,)
        self.values += [y if np.ndim(y) == 1 else y.sum(axis=0) for y in ys]
        if n.ys == "draw":
            self.draws.append((np.floor(ys[0][-1]), 2))  # that it is whole is not known otherwise
        if n.ys == "vector":
            self.machine.cost(f"ys{number}", ys[0], scale=n.scale)


class Step:
    """The step function of a scan: a cost, up to two sites, a cost, the new carry and what is put out."""

    def __init__(self, running: Running, number: int, n: Loop):
        self.of, self.machine, self.f = running, running.machine, running.f
        self.number, self.n = number, n
        self.outer = np.tanh(running.scalar(n.j))
        self.draw = running.binary(n.k)

    def __call__(self, carry, x):
        n = self.n
        s, u = carry if n.pair else (carry, None)
        self.before(s, s if x is None else s * x)
        h, all_draws = self.sites(s if x is None else s + x)
        read = sum((self.read(what, h, s) for what in n.reads[1:]), start=self.read(n.reads[0], h, s))
        new = {"tanh": lambda: np.tanh(0.7 * s + read), "add": lambda: 0.5 * s + read + all_draws,
               "draw": lambda: all_draws * 1.0, "stop": lambda: self.f.stop_gradient(s) * h + read,
               "keep": lambda: 1.1 * s}[n.carry]()  # fmt: skip
        self.after(h, s, new, read if u is None else read * u)
        y = {"carry": lambda: new * h, "before": lambda: s, "draw": lambda: h, "vector": lambda: self.f.stack([h, s]),
             "none": lambda: None}[n.ys]()  # fmt: skip
        if u is None:
            return new, y
        vector = np.tanh(u[::-1] + h * self.of.w)
        return (new, vector), vector if y is None else (y, u * h)

    def before(self, s, z) -> None:
        """A cost that the step's site does not influence."""
        if self.n.before != "none":
            value = {"square": lambda: s * s * self.outer, "along": lambda: np.sin(z),
                     "outer draw": lambda: s * self.draw}[self.n.before]()  # fmt: skip
            self.machine.cost(f"before{self.number}", value, scale=self.n.scale)

    def sites(self, z):
        """The step's draw, or one from outside of it, and a sum of all its draws."""
        name, n, site = f"s{self.number}", self.n, self.machine.site
        logits = {"carry": z + self.of.b * self.outer, "outer": self.outer, "units": z}.get(n.site)
        if n.site == "none":
            h = both = self.draw
        elif n.site == "units":
            units = site(name, "bernoulli", _bounded(logits), shape=(2,))
            h, both = units[-1], (units * self.of.w).sum()
        else:
            h = both = site(name, "probs", 0.4) if logits is None else site(name, "bernoulli", _bounded(logits))
        if n.second:
            both = both + site(name + "b", "probs", 0.1 + 0.8 * self.f.sigmoid(h * self.outer + z))
        return h, both

    def read(self, what: str, h, s):
        """What is made of the draw."""
        of, d, lookup = self.of, self.draw, self.machine.lookup
        return {"times": lambda: h * of.b, "log_prob": lambda: self.machine.log_prob("bernoulli", s, h),
                "loop": lambda: self.inner(h, s), "named": lambda: self.machine.named(f"n{self.number}", h * s),
                "where": lambda: np.where(h > 0.5, s, of.w[0]), "table": lambda: lookup(of.table, h) * self.outer,
                "rows": lambda: (lookup(of.matrix, h) * of.table).sum(),
                "one_hot": lambda: (self.f.one_hot(h, 2) * of.w).sum(),
                "outer draw": lambda: np.where((d > 0.5) | (h < 0.5), s, self.outer) * d}[what]()  # fmt: skip

    def inner(self, h, s):
        """A scan in the step, without sites."""
        def step(c, x):
            return np.tanh(c + h * x * self.of.b), c * self.outer

        last, ys = self.machine.scan(step, s, xs=self.of.w)
        return last + ys.sum()

    def after(self, h, s, new, read) -> None:
        """A cost that it does influence."""
        if self.n.after != "none":
            value = {"difference": lambda: (h - np.tanh(s)) * self.outer, "carry": lambda: np.sin(new + h),
                     "read": lambda: read}[self.n.after]()  # fmt: skip
            self.machine.cost(f"after{self.number}", value, scale=self.n.scale)


# --- drawing programs ------------------------------------------------------------------------------------------------
_picks = st.integers(0, 15)
_seldom = st.sampled_from([False, False, True])
_between = instructions((*ELEMENTWISE, *VECTORS, *OTHERS), _picks)
_reading = instructions(READINGS, _picks)
_costs = st.builds(Cost, _picks, _picks, scale=st.sampled_from([1.0, 0.5]))
_draws = st.builds(Draw, st.sampled_from(FAMILIES), _picks, _picks, literal=_seldom, twice=_seldom, per_row=_seldom)
_loops = st.builds(Loop, _picks, _picks, _picks, **{field: st.sampled_from(kinds) for field, kinds in LOOP.items()},
                   reads=st.lists(st.sampled_from(READS), min_size=1, max_size=3, unique=True).map(tuple))


@st.composite
def programs(draw, rows: bool | None = None) -> Program:
    """Two to four sites or scans with deterministic nodes and costs between them; with rows of data if that is asked
    for, and half of the time if nothing is."""
    steps = st.lists(st.one_of(_between, _between, _reading, _costs), max_size=3)
    body: list = []
    for _ in range(draw(st.integers(2, 4))):
        body += draw(steps)
        body.append(draw(st.one_of(_draws, _loops)))
    body += draw(steps)
    shapes = {**Program.params, **Program.inputs}
    if draw(st.booleans()) if rows is None else rows:
        shapes |= {n: (ROWS, *shape) for n, shape in Program.data.items()}
    values = arrays(draw, shapes)
    if "x" in values and draw(st.booleans()):
        values |= arrays(draw, {"x": shapes["x"]}, st.one_of(usual, wide))
    return Program(tuple(body), values, draw(st.sampled_from([100, 3, 1])))
