"""Estimators of one gradient, side by side: bias, variance and time, measured under common random numbers.

In: a graph, strategies, values. Out: a table. What is compared is the variance of one sample times the time that a
sample takes: with so much time, the error of the better one is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from scg.compared import Compared, estimators_of
from scg.derive import derive
from scg.errors import CallError, DeclarationError, ExactError, NonFiniteError, SCGError, UnknownName
from scg.expectation.exact import exact
from scg.function import EstimatorFunction, function_of, type_name
from scg.ir.location import here
from scg.ir.signed import signed
from scg.markup import in_code, page_in_html, pale, table_in_html
from scg.progress import Steps
from scg.run.by_name import Asked
from scg.run.coupling import NOTED
from scg.run.estimate import Estimate
from scg.strategy import Strategy

WARM = 20  # calls before the first that counts: of moving averages these are nearly all of the past
ROUNDS, LONG = 5, 1.0  # of timed calls, in turns; and seconds after which there are no more of one function
APART = 5.0  # standard errors by which means differ that are not the same
GIVEN = ("param", "input", "data")  # roles of what a call gives values for


class Made(NamedTuple):
    """A function that is there already, the seconds that it took, and whether it was called."""

    function: EstimatorFunction
    seconds: float
    called: bool


class Comparison(Asked[Compared]):
    """Label → what was found of the strategy, in the order in which they were given.

    Attributes
    ----------
    refused : dict of str to SCGError
        Strategies that cannot be compiled here, and why.
    ruled_out : dict of str to str
        Those of ``strategy="auto"`` that were not compiled, for others were better by far when interpreted, and what
        they would have taken.
    reference : str
        What biases are distances from.
    """

    def __init__(self, title: str, found: Mapping[str, Compared], refused: Mapping[str, SCGError], reference: str):
        super().__init__(found, "{} was asked for.", "No strategy that was compared has that label.", "They are")
        self._title, self.refused, self.reference = title, dict(refused), reference
        self.ruled_out: dict[str, str] = {}

    @property
    def best(self) -> str:
        """The label of the unbiased one with the least variance times time; of those that are exact, the fastest.

        Of a chain, one of whose bias nothing is seen (`Compared.fair`); where one of these cuts off nothing after the
        start, one that does is taken only if it is shown that this is next to nothing (`Compared.shown_whole`).

        Raises
        ------
        UnknownName
            If none is unbiased.
        """
        labels = self._eligible()
        if not labels:
            chain = any(found.cut for found in self._found.values())
            raise UnknownName(str(here() or ""), "The best estimator was asked for.", "What each of them cuts off is "
                              "seen." if chain else "None that was compared is unbiased.",
                              "Let the chain run longer before it counts, and follow draws for more steps, with "
                              "truncation= or window=." if chain else "Compare one that is, e.g. scg.ScoreFunction().")
        return self.least(labels)

    def _eligible(self) -> list[str]:
        """The labels of what may be the best."""
        fair = {label: found for label, found in self._found.items() if found.fair}
        strict = any(not found.cuts_off for found in fair.values())
        return [label for label, found in fair.items() if found.shown_whole or not strict]

    def least(self, labels: Iterable[str]) -> str:
        """That of some labels with the least variance times time; of those that are exact, the fastest."""
        return min(labels, key=lambda label: (self.refuted(label), self._found[label].rank))

    def refuted(self, label: str) -> bool:
        """Whether samples are all the same for what is rare was not drawn: another unbiased one has another mean."""
        one = self._found[label]
        return one.exact and one.draws and any(_apart(one, other) for other in self._found.values() if other.unbiased)

    def draw(self, path=None):
        """A picture: variance against time, and lines along which their product is the same.

        Parameters
        ----------
        path : str or path, optional
            Where to write it, as for `Graph.draw`.

        Returns
        -------
        Drawing
        """
        from scg.export.comparison_picture import ComparisonPicture

        picture = ComparisonPicture(self._title, list(self._found.values()))
        if path is not None:
            picture.save(path)
        return picture

    plot = draw

    def _table(self) -> list[list[str]]:
        names = list(next(iter(self._found.values())).variance) if self._found else []
        head = ["", "bias", *(f"variance {name}" for name in names), "µs a sample", "variance × time", "compiling s"]
        may = self._eligible()
        least = min((self._found[label].work for label in may if not self._found[label].exact), default=math.nan)
        return [head, *([found.label, _bias_text(found), *(f"{found.variance[name]:.3g}" for name in names),
                         f"{1e6 * found.seconds:.3g}", _ratio(found, least), f"{found.compiling:.2g}"]
                        for found in self._found.values())]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join(f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths)))
                 for row in table]
        notes = [f"{what}: {label}: {why}" for what, label, why in self._notes()]
        return "\n".join([self._title, *(line.rstrip() for line in lines), f"bias: {self.reference}", *notes])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        notes = [pale(f"Bias: {self.reference}."),
                 *(pale(f"{what.capitalize()}: {label}: {why}") for what, label, why in self._notes())]
        return page_in_html(self._title, table_in_html(head, [[in_code(row[0]), *row[1:]] for row in rows]), *notes)

    def _notes(self) -> list[tuple[str, str, object]]:
        """What is not in the table: what became of it, its label, and why."""
        may = self._eligible()
        passed = [label for label, found in self._found.items() if found.fair and label not in may]
        return [*(("refused", label, why) for label, why in self.refused.items()),
                *(("passed over", label, "that it cuts off less than 1 % is not shown, and others cut off nothing")
                  for label in passed),
                *(("not compiled", label, why) for label, why in self.ruled_out.items())]

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self._found) or 'nothing'}: print it>"


def _apart(one: Compared, other: Compared) -> bool:
    """Whether what has no variance is not the mean of the other."""
    g, h, rounding = one.estimate.grad, other.estimate.grad, 64.0 * np.finfo(one.function._layout.dtype).eps
    return any(bool(np.any(abs(g[n] - h[n]) > APART * other.estimate.stderr[n] + rounding * (abs(g[n]) + abs(h[n]))))
               for n in g if n in h)


def _bias_text(found: Compared) -> str:
    if found.unbiased:
        return "none"
    known = [(found.bias[name], found.bias_stderr[name]) for name in found.bias if not math.isnan(found.bias[name])]
    if not known:
        return "some"
    bias, error = (math.hypot(*column) for column in zip(*known))
    return f"{bias:.2g} ± {error:.1g}"


def _ratio(found: Compared, least: float) -> str:
    """Beside the least of the unbiased ones that are sampled."""
    if found.exact:
        return "exact" if found.unbiased else "no variance"
    return f"{found.work:.3g}" if math.isnan(least) or math.isnan(found.work) else f"{found.work / least:.3g}"


@signed
def compare(graph, strategies: Mapping[str, Strategy], values: Mapping[str, Any], *, samples: int = 1000, rng=0,
            wrt: Sequence[str] | None = None, costs: Sequence[str] | None = None, backend: str = "numba",
            dtype: str = "float64") -> Comparison:
    """Compare strategies for the gradient of a graph at some values, under one seed.

    Parameters
    ----------
    graph : Graph
    strategies : dict of str to strategy
        What each is called in the table, and the strategy, as for `scg.compile`. One that is refused, by the compiler
        or at these values, stands in `refused`.
    values : dict of str to array_like
        As for a call. Params that estimators bring start where ``f.init(0)`` says, if they are not given.
    samples : int
        Of each measured call, at least 2.
    rng : int, SeedSequence or Generator
        The seed, the same for all.
    wrt, costs, backend, dtype
        As for `scg.compile`.

    Returns
    -------
    Comparison
        It prints as a table; ``.draw(path)`` is a picture.

    Raises
    ------
    DeclarationError
        If `strategies` or `samples` cannot be used.
    CallError
        If a value is wrong, or no strategy can be used at these values.
    """
    _check(strategies, samples)
    options = {"wrt": wrt, "costs": costs, "backend": backend, "dtype": type_name(dtype), "stderr": True, "order": 1}
    with Steps(len(strategies), f'comparing in graph "{graph.name}"', "strategy") as shown:
        def say(label: str) -> None:
            shown.at(f"{label} is compiled")
            shown.done()

        return compared(graph, strategies, values, samples, rng, options, say=say)


def compared(graph, strategies: Mapping[str, Strategy], values: Mapping[str, Any], samples: int, rng,
             options: dict[str, Any], made: Mapping[str, Made] = MappingProxyType({}),
             say: Callable[[str], None] = lambda _: None, exactly: bool = True) -> Comparison:
    """`compare`, under checked options; those `made` are functions already, for the same graph and options.

    Where it need not be done `exactly`, no gradient is enumerated. In between, `say` is given the label of what is
    compiled now.
    """
    compiled, refused = _functions_of(graph, strategies, options, made)
    made_some = next(iter(compiled), None)
    if made_some is not None:
        _check_values([f for f, _, _ in compiled.values()], values)
    for label, (f, took, called) in [*compiled.items()]:
        began = perf_counter()
        if not called:
            say(label)
        try:
            f(values_of(f, values), samples=samples, rng=rng)
        except (CallError, NonFiniteError) as why:  # an estimator may be wrong at these values only
            refused[label] = why
            del compiled[label]
            continue
        compiled[label] = Made(f, took if called else took + perf_counter() - began, True)
    if not compiled and made_some:
        raise refused[made_some]  # of the first: these values are wrong for all
    first = {label: _run(f, values_of(f, values), samples, rng) for label, (f, _, _) in compiled.items()}
    seconds = _timed({label: f for label, (f, _, _) in compiled.items()}, values, samples)
    reference = _reference(compiled, first, values if exactly else None)
    found = {label: _compared(label, f, first[label], reference, seconds[label] / samples, took)
             for label, (f, took, _) in compiled.items()}
    title = f'graph "{graph.name}", {samples} samples under one seed'
    return Comparison(title, found, refused, reference.said)


def _functions_of(graph, strategies: Mapping[str, Strategy], options: dict[str, Any],
                  made: Mapping[str, Made] = MappingProxyType({})) -> tuple[dict[str, Made], dict[str, SCGError]]:
    """The functions of strategies, not called yet but for some of those `made`; and which are refused, and why."""
    found: dict[str, Made] = {}
    refused: dict[str, SCGError] = {}
    for label, strategy in strategies.items():
        began = perf_counter()
        try:
            found[label] = made.get(label) or Made(function_of(
                derive(graph, strategy, wrt=options["wrt"], costs=options["costs"]),
                {**options, "strategy": strategy}), perf_counter() - began, False)
        except SCGError as why:
            refused[label] = why
    return found, refused


def _check(strategies: Any, samples: Any) -> None:
    if not isinstance(strategies, Mapping) or not strategies:
        raise DeclarationError(str(here() or ""), f"strategies={strategies!r} was given.",
                               "It says by label what is to be compared.",
                               'Give a dict, e.g. {"REINFORCE": scg.ScoreFunction(), "ARM": scg.ARM()}.')
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 2:
        raise DeclarationError(str(here() or ""), f"samples={samples!r} was given.",
                               "A variance takes two samples at least.", "Give a whole number from 2.")


def _check_values(functions: Iterable[EstimatorFunction], values: Mapping[str, Any]) -> None:
    """Refuse what no function takes."""
    known = {leaf.name for f in functions for leaf in f._layout.leaves if leaf.role in GIVEN}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise CallError(str(here() or ""), f"values has {', '.join(map(repr, unknown))}.",
                        "It is no param, input or data of the graph, and no estimator here brings it.",
                        f"There are: {', '.join(sorted(known))}.")


def values_of(f: EstimatorFunction, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one function: what it takes of them, and starting values of what its estimators bring."""
    leaves = {leaf.name for leaf in f._layout.leaves if leaf.role in GIVEN}
    return {**f.init(0), **{name: value for name, value in values.items() if name in leaves}}


def _run(f: EstimatorFunction, values: Mapping[str, Any], samples: int, rng) -> Estimate:
    """The estimate that counts, once what it carries from call to call has settled."""
    state: Mapping[str, Any] | None = None
    if f._layout.states:
        for i in range(WARM):
            state = f(values, samples=samples, rng=i + 1, state=state).state
    return f(values, samples=samples, rng=rng, state=state)


def _timed(functions: Mapping[str, EstimatorFunction], values: Mapping[str, Any], samples: int) -> dict[str, float]:
    """The median seconds of a call, of calls in turns."""
    taken: dict[str, list[float]] = {label: [] for label in functions}
    given = {label: values_of(f, values) for label, f in functions.items()}
    for i in range(ROUNDS):
        for label, f in functions.items():
            if sum(taken[label]) > LONG:
                continue
            began = perf_counter()
            f(given[label], samples=samples, rng=i)
            taken[label].append(perf_counter() - began)
    return {label: float(np.median(times)) for label, times in taken.items()}


class Reference(NamedTuple):
    """The gradient that biases are measured from, its standard errors, if it has some, and what it is."""

    grad: Mapping[str, np.ndarray]
    stderr: Mapping[str, np.ndarray]
    said: str


def _reference(compiled: Mapping[str, Made], found: Mapping[str, Estimate],
               values: Mapping[str, Any] | None) -> Reference:
    """The gradient that biases are measured from, and what it is: an exact one at some values, if they are given."""
    functions = [f for f, _, _ in compiled.values()]
    if not functions:
        return Reference({}, {}, "nothing was compiled")
    graph = functions[0]._whole("compare").graph
    names = set(functions[0]._whole("compare").targets)
    if values is not None and names <= set(graph.params):
        own = {name: value for name, value in values.items() if name in {**graph.params, **graph.inputs, **graph.rows}}
        try:
            return Reference(exact(graph, own).grad, {}, "distance from the exact gradient")
        except ExactError:
            names = set()  # the most exact estimate will do
    label = _most_exact(compiled, found)
    if label is None:
        return Reference({}, {}, "not known: there is no exact gradient here, and none of these is unbiased")
    return Reference(found[label].grad, found[label].stderr, f"distance from the estimate of {label}")


def _most_exact(compiled: Mapping[str, Made], found: Mapping[str, Estimate]) -> str | None:
    """The label of the unbiased estimate of the least variance; of a chain, of one that cuts off nothing, if it can
    be, or else a hundredth of its pairs of phantoms."""
    def least(labels: list[str]) -> str | None:
        return min(labels, key=lambda label: _total_variance(found[label]), default=None)

    cut = [label for label, (f, _, _) in compiled.items() if _is_cut(f)]
    return (least([label for label, (f, _, _) in compiled.items() if f.verdict.unbiased])
            or least([label for label in cut if not any(e.cuts_off for e in estimators_of(compiled[label].function))])
            or least([label for label in cut if (met := found[label].coupling) is not None and met.uncoupled <= NOTED]))


def _is_cut(f: EstimatorFunction) -> bool:
    """Whether it is for a chain, and biased by its start and what is cut off alone."""
    return f._whole("compare").graph.transition is not None and all(
        e.stationary or e.unbiased for e in estimators_of(f))


def _total_variance(r: Estimate) -> float:
    return math.fsum(float(np.sum(np.square(error))) for error in r.stderr.values())


def _compared(label: str, f: EstimatorFunction, r: Estimate, reference: Reference, seconds: float,
              took: float) -> Compared:
    names = list(f._whole("compare").moved)
    bias = {name: float(np.linalg.norm(np.asarray(r.grad[name] - reference.grad[name]).ravel()))
            if name in reference.grad
            else math.nan for name in names}
    errors = {name: float(np.linalg.norm(np.asarray(r.stderr[name]).ravel())) for name in names}
    variance = {name: r.samples * error**2 for name, error in errors.items()}
    off = {name: math.hypot(error, float(np.linalg.norm(np.ravel(reference.stderr.get(name, 0.0)))))
           for name, error in errors.items()}
    return Compared(label, f.verdict.unbiased, bias, off, variance, seconds, took, r, f, _is_cut(f))
