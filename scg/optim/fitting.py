"""A loop of descent: minibatches, seeds, states that are carried, history, early stopping and a progress bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple, NoReturn

import numpy as np

from scg.errors import CallError, brief, printable
from scg.function import EstimatorFunction
from scg.ir.location import calling, here
from scg.ir.signed import no_such, signed_in
from scg.noise import h64, seed_of
from scg.optim.optimisers import Optimiser, adam, as_float
from scg.progress import bar
from scg.run.by_name import ByName
from scg.run.moments import NO_ERRORS
from scg.run.values import bound

_MEANT = {
    "cost": 'Costs are in history: run.history["cost"][-1] is that of the last step.',
    "grad": "A fit keeps no gradients: watch= is shown every estimate, f({**values, **run.values}) is a new one.",
    "params": "They are run.values."}


@dataclass(frozen=True)
class Fit:
    """What `fit` returns.

    Attributes
    ----------
    values : dict of str to array
        The params: after the last step, or with ``patience=`` those that were best.
    history : dict of str to array
        Of its own steps, not of those before `after=`: ``"cost"`` of each, of its own minibatch and noise, each cost by
        its name under ``"costs"``;
        ``"looked"``, the steps after which it was validated, and ``"validation"``, what that gave.
    steps : int
        How many steps led to `values`, earlier fits included.
    ended : str
        ``"steps"``, ``"patience"`` or ``"watch"``: what ended it.
    state : dict of str to array
        Of the compiled function, as ``r.state``.
    optimiser_state : object
    seed : int
        ``rng=`` of it repeats the fit.
    notes : tuple of str
        What any of the estimates noted.
    began : dict of str to array
        The params that it began with; of a fit that goes on, those of the first.
    """

    values: dict[str, np.ndarray]
    history: dict[str, Any] = field(repr=False)
    steps: int = 0
    ended: str = "steps"
    state: Mapping[str, Any] | None = field(default=None, repr=False)
    optimiser_state: Any = field(default=None, repr=False)
    seed: int = 0
    notes: tuple[str, ...] = ()
    began: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        costs = self.history["cost"]
        first = (f"<Fit of {len(costs)} steps, ended by {self.ended}: cost {costs[0]:.6g} at first, "
                 f"{costs[-1]:.6g} at last>")
        return "\n".join([first, *(printable(f"  note  {note}") for note in self.notes if note != NO_ERRORS)])

    def __getattr__(self, name: str):
        no_such(self, name, _MEANT)


@signed_in("scg.optim")
def fit(f: EstimatorFunction, values: Mapping[str, Any] | None = None, optimiser: Callable | None = None, *, steps: int,
        samples: int = 1, batch: int | None = None, rng=None, validate: Callable | None = None, every: int = 100,
        patience: int | None = None, watch: Callable | None = None, after: Fit | None = None, executor=None,
        progress: bool = True) -> Fit:
    """Minimise the expected cost of a compiled graph by stochastic gradients.

    Parameters
    ----------
    f : EstimatorFunction
        What `scg.compile` returned. The params that it differentiates are moved; other values stay.
    values : dict of str to array_like
        Inputs, all the data, and params to start from. Params that are not given start from ``f.init(rng)``.
    optimiser : callable
        ``optimiser(values, grads, state) -> (values, state)``: `sgd` or `adam` (by default), or a function of yours.
    steps : int
    samples : int
        Replicates per row of each step. Baselines that are means of other replicates need two at least.
    batch : int, optional
        Rows of a step; all by default. Each epoch takes the rows in a new random order; its last step has those that
        are left.
    rng : None, int, SeedSequence or Generator
        As for a call; it fixes initial values, the orders of the rows, and each step's noise.
    validate : callable, optional
        ``validate(values) -> float``, called with all values, those of the params included, after every `every` steps
        and after the last.
    every : int
    patience : int, optional
        Stop when so many validations in a row were not lower than the lowest, and return the params of that one.
        Without ``validate=`` the mean cost of the steps since the last look stands for it.
    watch : callable, optional
        ``watch(step, values, r)`` is shown every estimate, with the values and rows of which it was made. If it returns
        True, that step is the last.
    after : Fit, optional
        An earlier fit, to go on where it ended, with its seed if ``rng=`` is left out: the steps are then those of one
        longer fit, bit by bit, if nothing else is given otherwise. All but the params that move may be: an optimiser
        of another kind begins with a state of its own.
    executor : concurrent.futures.Executor, optional
        As for a call.
    progress : bool
        Whether a bar is shown, in terminals and notebooks; not where ``$SCG_QUIET`` is set.

    Returns
    -------
    Fit

    Raises
    ------
    CallError
        If an argument cannot be used.
    NonFiniteError
        If a cost, gradient or param is no longer finite.
    """
    _check(f, steps=steps, every=every, batch=batch, patience=patience)
    _check_functions(optimiser=optimiser, validate=validate, watch=watch)
    if after is not None and not isinstance(after, Fit):
        _refuse(f"after={brief(after)} was given.", "It is no earlier fit.", "Give what scg.optim.fit returned.")
    seed = after.seed if after is not None and rng is None else _seed(f, rng)
    given, move = _Given(f, values, after, seed, batch), optimiser or adam()
    now = given.start._replace(kept=_kept_by(move, given.start.kept))
    log = _Log(validate, every, patience, given.whole)
    last = now.steps + steps - 1
    with bar(steps, f._layout.name, "step") if progress else nullcontext() as shown:
        for number in range(now.steps, last + 1):
            at = {**given.of_step(number), **now.params}
            r = f(at, samples=samples, rng=h64(f"step {number} of {seed}"), state=now.state, executor=executor)
            ended = watch is not None and _is_true(watch(number, at, r))
            now = _moved(move, given.moving, now, r)
            log.add(r, now, ended or number == last)
            if shown is not None:
                shown.set_postfix_str(log.text, refresh=False)
                shown.update()
            if ended or log.patience_is_over:
                break
    why = "watch" if ended else "patience" if log.patience_is_over else "steps"
    best = log.best or now
    return Fit(best.params, log.history(), best.steps, why, best.state, best.kept, seed, tuple(log.notes), given.began)


class _Point(NamedTuple):
    """Where a fit has come to: steps made, params, the state of the function and that of the optimiser."""

    steps: int
    params: dict[str, Any]
    state: Mapping[str, Any] | None
    kept: Any


class _Given:
    """What a fit is given: values that stay, params to begin with, and which rows a step takes."""

    def __init__(self, f: EstimatorFunction, values: Any, after: Fit | None, seed: int, batch: int | None):
        values = {} if values is None else values
        leaves = [leaf for leaf in f._layout.leaves if leaf.role != "state"]
        params = [leaf.name for leaf in leaves if leaf.role == "param"]
        self.moving = [name for name in f._layout.wrt if name in params]
        if isinstance(values, Mapping):  # others are refused below
            known = values if after is None else self._beside(f, values, after)
            values = {**(f.init(seed) if any(name not in known for name in params) else {}), **known}
        arrays, self.rows = bound(f._layout.name, leaves, f._layout.dtype, values)
        self.whole = {leaf.name: array for leaf, array in zip(leaves, arrays)}
        self.data = [leaf.name for leaf in leaves if leaf.role == "data"]
        self.seed, self.batch = seed, batch
        self._order: tuple[int, np.ndarray] | None = None  # of the rows in an epoch
        if batch is not None and not (self.data and batch <= self.rows):
            why = f"The data have {self.rows} rows." if self.data else "The graph has no data."
            _refuse(f"batch={batch} was given.", why, "It is the number of rows that a step takes: leave it out to "
                    "take all.", f)
        if not self.moving:
            _refuse("A fit was asked for.",
                    f"What is differentiated is no param: {', '.join(f._layout.wrt) or 'nothing'}.",
                    "Compile the graph with wrt= left out, or with names of params.", f)
        begun = {name: as_float(values[name]) for name in params}  # the type of the function may be coarser
        self.began = begun if after is None else after.began
        self.start = (_Point(0, begun, None, None) if after is None else
                      _Point(after.steps, begun, after.state, after.optimiser_state))

    def of_step(self, number: int) -> dict[str, np.ndarray]:
        """All values of a step, with the rows that are its own."""
        if self.batch is None:
            return self.whole
        epoch, at = divmod(number, -(-self.rows // self.batch))
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, h64("order of rows"), epoch]).permutation(self.rows)
        rows = self._order[1][at * self.batch : (at + 1) * self.batch]
        return {**self.whole, **{name: self.whole[name][rows] for name in self.data}}

    def _beside(self, f: EstimatorFunction, values: Mapping[str, Any], after: Fit) -> dict[str, Any]:
        """Values with those that an earlier fit has come to. What would be dropped is refused.

        Params that the fits began with, or have come to, may be given again.
        """
        moved = {name: after.values[name] for name in self.moving if name in after.values}
        for name in (name for name in moved if name in values):
            known = [moved[name], *([after.began[name]] if name in after.began else [])]
            if not any(np.array_equal(values[name], value) for value in known):
                _refuse(f'"{name}" was given beside after=.', "It is a param, of which after= has what it came to.",
                        f'Leave "{name}" out; or begin anew, with {{**run.values, "{name}": …}} and without after=.', f)
        return {**after.values, **values, **moved}


class _Log:
    """What is told of a fit as it goes on, and whether it still gets better."""

    def __init__(self, validate: Callable | None, every: int, patience: int | None, whole: Mapping[str, Any]):
        self.validate, self.every, self.patience, self.whole = validate, every, patience, whole
        self.cost: list[float] = []
        self.costs: dict[str, list[float]] = {}
        self.looked: list[int] = []
        self.validation: list[float] = []
        self.notes: dict[str, None] = {}  # in the order in which they came
        self.best: _Point | None = None
        self.patience_is_over = False
        self._since = 0  # the step after the last look
        self._waited = 0

    def add(self, r, now: _Point, last: bool) -> None:
        """Note an estimate, and the point to which its step led."""
        self.cost.append(r.cost)
        for name, cost in r.costs.items():
            self.costs.setdefault(name, []).append(cost)
        self.notes.update(dict.fromkeys(r.notes))
        if (self.validate or self.patience) and (last or now.steps % self.every == 0):
            self._look(now)

    def _look(self, now: _Point) -> None:
        found = self._validated(now) if self.validate else float(np.mean(self.cost[self._since :]))
        self._since = len(self.cost)
        if self.patience is not None:
            better = not self.validation or found < min(self.validation)
            self.best = now if better else self.best
            self._waited = 0 if better else self._waited + 1
            self.patience_is_over = self._waited >= self.patience
        self.looked.append(now.steps)
        self.validation.append(found)

    def _validated(self, now: _Point) -> float:
        found = self.validate({**self.whole, **now.params})
        if isinstance(found, bool) or not isinstance(found, Real) or not math.isfinite(found):
            _refuse(f"validate(values) returned {brief(found)} after step {now.steps}.", "It is no finite number.",
                    "Let it return what is to become small: validate=lambda values: f(values, samples=10, rng=0).cost.")
        return float(found)

    @property
    def text(self) -> str:
        """What the progress bar says."""
        looked = f", validation {self.validation[-1]:.6g}" if self.validate and self.validation else ""
        return f"cost {self.cost[-1]:.6g}{looked}"

    def history(self) -> dict[str, Any]:
        """What a `Fit` has of it."""
        costs = ByName({name: np.array(costs) for name, costs in self.costs.items()}, 'run.history["costs"]',
                       "These are the graph's.")
        return ByName({"cost": np.array(self.cost), "costs": costs,
                       "looked": np.array(self.looked, dtype=np.int64), "validation": np.array(self.validation)},
                      "run.history", 'Costs by name are in run.history["costs"].')


def _kept_by(optimiser: Callable, kept: Any) -> Any:
    """The state that an optimiser goes on from: none, if what there is was kept by one of another kind."""
    return None if isinstance(optimiser, Optimiser) and not optimiser.owns(kept) else kept


def _moved(optimiser: Callable, names: list[str], now: _Point, r) -> _Point:
    """One step of the optimiser."""
    grads = r.grad
    found = optimiser(now.params, {name: grads[name] for name in names}, now.kept)
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], Mapping) or (
            found[0].keys() != now.params.keys()):
        _refuse(f"optimiser={brief(optimiser)} returned {brief(found)}.", "It is no pair of new values and a state.",
                "Let it return (values, state), the values under the names that it was given.")
    return _Point(now.steps + 1, dict(found[0]), dict(r.state) or None, found[1])


def _is_true(answer) -> bool:
    """Whether an answer is True; what is no truth value is none."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _seed(f: EstimatorFunction, rng) -> int:
    try:
        return seed_of(rng)
    except TypeError as why:
        _refuse(f"rng={brief(rng)} was given.", f"{why}.", "Give None, an int, a SeedSequence or a Generator.", f)


def _check(f, **numbers) -> None:
    """Refuse what is no compiled function, and numbers that are not whole ones from 1; None is none."""
    if not isinstance(f, EstimatorFunction):
        _refuse(f"A {type(f).__name__} was given to be fitted.", "It is no compiled graph.",
                "Compile it: scg.optim.fit(scg.compile(g), values, steps=1000).")
    for name, number in numbers.items():
        needed = name in ("steps", "every")
        if (number is None and needed) or (number is not None and (
                isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1)):
            _refuse(f"{name}={brief(number)} was given.", "It is a number of steps, rows or looks.",
                    "Give a whole number from 1.", f)


def _check_functions(**functions) -> None:
    for name, function in functions.items():
        if function is not None and not callable(function):
            _refuse(f"{name}={brief(function)} was given.", "It is called, and no function.",
                    "Give a function, or leave it out." if name != "optimiser" else "Give scg.optim.adam(0.001).")


def _refuse(what: str, why: str, fix: str, f: EstimatorFunction | None = None) -> NoReturn:
    raise CallError(str(here() or "") if f is None else calling(f._layout.name), what, why, fix)
