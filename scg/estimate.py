"""The compiled estimator, calling it, and what a call returns.

What a call does is in `scg.calls`; here are its result, and what else a compiled estimator can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from scg.by_name import ByName
from scg.calls import VALUES, Calls
from scg.derivation import Derivation
from scg.errors import CallError, NonFiniteError, SCGError, raise_all
from scg.ir.location import calling
from scg.ir.node import Node
from scg.ir.signed import no_item, no_such
from scg.program import Call, Division, Kernel, Layout
from scg.statistics import Merged, all_known, not_known, row_errors, row_means


class Estimate:
    """What a call returns: means over replicates, with their standard errors.

    Attributes
    ----------
    cost : float
        The estimated objective.
    costs : dict of str to float
        Each cost's estimated expectation.
    grad : dict of str to array
        Gradients by name, in the parameters' shapes; (rows, *shape) for data and what else has a value per row.
    stderr : dict of str to array
        Estimated standard deviation of `grad` over fresh noise with the rows fixed; NaN for one sample, if
        the gradient varies by replicate.
    cost_stderr : float
        Likewise for `cost`.
    samples : int
        Replicates per row.
    rows : int
    seed : int
        Repeats the call: ``f(values, samples=r.samples, rng=r.seed)``.
    state : dict of str to array
        What to pass as ``state`` to the next call.
    record : dict of str to array
        Values of the nodes asked for, (rows, samples, *shape).
    notes : tuple of str
        What to know about the numbers.
    """

    _MEANT = {**dict.fromkeys(("gradient", "gradients", "grads"), 'Use r.grad["theta"].'),
                **dict.fromkeys(("loss", "value", "objective", "mean"), "Use r.cost."),
                **dict.fromkeys(("std", "se", "error", "sem"), 'Use r.stderr["theta"], or r.cost_stderr.')}
    _OF_GRADIENTS = "What is differentiated are the params, or what wrt= named."
    __slots__ = ("_division", "_found", "_layout", "_merged", "_of_call", "_record", "seed")

    def __init__(self, layout: Layout, division: Division, merged: Merged, seed: int, record, notes):
        self._layout, self._division, self._merged = layout, division, merged
        self.seed, self._record, self._of_call = seed, record, notes
        self._found: np.ndarray | None = None  # standard errors, once they have been asked for

    def __getattr__(self, name: str):
        no_such(self, name, self._MEANT)

    def __getitem__(self, name):
        no_item("r", name, "An estimate holds several results of each name.",
                'Ask for one of them: r.grad["theta"], r.stderr["theta"], r.costs["loss"], r.record["b"].')

    def _arrays(self, role: str, vector: np.ndarray, dtype) -> dict[str, np.ndarray]:
        own = vector.astype(dtype)  # a copy: what becomes of it changes nothing here
        return {name: own[where] if shape is None else own[where].reshape(shape)
                for name, where, shape in self._layout.places.get(role, ())}

    @property
    def samples(self) -> int:
        return self._division.samples

    @property
    def rows(self) -> int:
        return self._division.rows

    @property
    def cost(self) -> float:
        return float(self._merged.mean[0])  # the whole cost is the first output

    @property
    def cost_stderr(self) -> float:
        return float(self._errors()[0])

    @property
    def record(self) -> dict[str, np.ndarray]:
        return ByName(self._record, "r.record", 'Ask for it in the call: f(values, record=("b",)).')

    @property
    def costs(self) -> dict[str, float]:
        found = self._arrays("cost", self._merged.mean, np.float64)
        return ByName(((name, float(value)) for name, value in found.items() if name), "r.costs",
                      "Costs have the names that g.cost gave them.")

    @property
    def grad(self) -> dict[str, np.ndarray]:
        found = self._arrays("grad", self._merged.mean, self._layout.dtype)
        numbers = self._merged.by_row
        if numbers is not None:
            found = self._with_rows(found, row_means(self._division, numbers), self._layout.dtype)
        return ByName(found, "r.grad", self._OF_GRADIENTS)

    @property
    def stderr(self) -> dict[str, np.ndarray]:
        found = self._arrays("grad", self._errors(), np.float64)
        numbers = self._merged.by_row
        if numbers is not None:
            found = self._with_rows(found, self._row_errors(numbers), np.float64)
        return ByName(found, "r.stderr", self._OF_GRADIENTS)

    @property
    def state(self) -> dict[str, np.ndarray]:
        return ByName(self._arrays("state", self._merged.mean, self._layout.dtype), "r.state",
                      "Only moving averages have a state.")

    def _errors(self) -> np.ndarray:
        if self._found is None:
            self._found = self._standard_errors()
        return self._found

    def _standard_errors(self) -> np.ndarray:
        variance = self._merged.variance.copy()
        count = self._division.samples * self._division.rows
        if not all_known(variance, count):
            variance[not_known(self._merged.mean, variance, count)] = np.nan
        for where in self._layout.unmeasured:
            variance[where] = np.nan
        for where in self._layout.steady:
            variance[where] = 0.0
        return np.sqrt(variance)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._of_call + tuple(self._unmeasured()) + tuple(self._underflows())

    def _unmeasured(self) -> Iterable[str]:
        """What to say of standard errors that are NaN, or of what each is."""
        if not any(slot.moments and not slot.steady for slot in (*self._layout.means, *self._layout.by_row)):
            return  # they were not asked for, or are 0
        if self._division.samples == 1:
            yield "one sample: standard errors are not known"
            return
        large = [slot.name for slot in (*self._layout.means, *self._layout.by_row)
                 if slot.role in ("grad", "row grad") and not slot.moments]
        if large:
            yield f"the standard errors of large gradients are not computed: {', '.join(large)}"
        errors = self._errors()
        lost = [name for role in ("cost", "grad") for name, where, _ in self._layout.places.get(role, ())
                if name not in large and np.isnan(errors[where]).any()]
        if self._merged.by_row is not None:
            table = self._with_rows({}, self._row_errors(self._merged.by_row), np.float64, partly=True)
            lost += [name for name, values in table.items() if name not in large and np.isnan(values).any()]
        if lost:
            yield ("standard errors are not known where deviations are too small or too large, or lost in float32: "
                   + ", ".join(name or "the whole cost" for name in dict.fromkeys(lost)))

    def _underflows(self) -> Iterable[str]:
        """Gradients that are not 0 but become 0 in the working type."""
        if self._layout.dtype == "float64":
            return
        means, tables = self._merged.mean, self._merged.by_row
        lost = [name for name, where, _ in self._layout.places.get("grad", ())
                if np.any((means[where] != 0.0) & (means[where].astype(self._layout.dtype) == 0.0))]
        if tables is not None:
            exact = self._with_rows({}, row_means(self._division, tables), np.float64, partly=True)
            lost += [n for n, v in exact.items() if np.any((v != 0.0) & (v.astype(self._layout.dtype) == 0.0))]
        if lost:
            yield f"gradients too small for {self._layout.dtype} are 0: {', '.join(lost)}"

    def _with_rows(self, found: dict[str, np.ndarray], table: np.ndarray, dtype, partly: bool = False):
        """With outputs by row, from a table (rows, row_width) of elements, in the order of `wrt`; or these only."""
        at = 0
        for slot in self._layout.by_row:
            found[slot.name] = table[:, at : at + slot.size].reshape(len(table), *slot.shape).astype(dtype)
            at += slot.size
        return found if partly else {name: found[name] for name in self._layout.wrt}

    def _row_errors(self, numbers: np.ndarray) -> np.ndarray:
        kept = [slot.moments for slot in self._layout.by_row for _ in range(slot.size)]
        steady = [slot.steady for slot in self._layout.by_row for _ in range(slot.size)]
        return np.where(kept, np.where(steady, 0.0, row_errors(self._division, numbers)), np.nan)

    def __repr__(self) -> str:
        grads = ", ".join(f"{n}={np.array2string(v, precision=5, threshold=6)}" for n, v in self.grad.items())
        one = ": one sample per row, as samples= says how many" if self.samples == 1 else ""
        size = f"{self.rows} × {self.samples}{one}"
        return f"Estimate(cost={self.cost:.6g} ± {self.cost_stderr:.2g}, grad: {grads}; {size})"


_OPTIONS = ("samples", "rng", "state", "executor", "record")
_INSTEAD_OF_CALLS = {"grad": 'Call it: f(values).grad["theta"].', "gradient": 'Call it: f(values).grad["theta"].',
                     "cost": "Call it: f(values).cost.", "verify": "Use scg.verify(f, values).",
                     "exact": "Use scg.exact(g, values).", "sample": 'Call it: f(values, record="b").record["b"].'}


class EstimatorFunction:
    """A compiled estimator: ``f(values, samples=…, rng=…) -> Estimate``.

    It holds no state between calls, can be pickled, and can be called from several threads at once.

    Attributes
    ----------
    surrogate : Surrogate
        The mathematics that was compiled.
    verdict : Verdict
        Per site: ``f.verdict["b"].status`` and ``.reason``; ``f.verdict.unbiased`` of the whole. Costs that a stopped
        gradient of yours biases stand there too.
    source : str
        The kernel's text.
    """

    def __init__(self, derivation: Derivation, program, kernel: Kernel, verdict, options: dict[str, Any]):
        self.verdict, self._options = verdict, options
        self._derivation: Derivation | None = derivation
        self._program = program
        self._layout: Layout = program.layout
        self._kernel = kernel
        self._explicit_groups = _explicit_groups(derivation)
        self._initial = {s.name: float(s.initial) for s in derivation.draft.states}
        self._story: str | None = None  # told when it is asked for
        self._prepare()

    def _prepare(self) -> None:
        self._calls = Calls(self._layout, self._kernel, self._initial, self._explicit_groups, self._options["stderr"],
                            tuple(self.verdict.notes))
        self._recorders: dict[tuple[str, ...], EstimatorFunction] = {}

    # --- calling ----------------------------------------------------------------------------------------------------
    def __call__(self, values: Mapping[str, Any] = VALUES, *more, samples: int = 1, rng=None,
                 state: Mapping[str, Any] | None = None, executor: Executor | None = None, record: Sequence[str] = (),
                 **unknown) -> Estimate:
        """Estimate the objective and its gradient.

        Parameters
        ----------
        values : dict of str to array_like
            Every param and input in its declared shape, and every data leaf as ``(rows, *shape)``.
        samples : int
            Replicates per row.
        rng : None, int, SeedSequence or Generator
            A Generator advances by one 64-bit draw; an int is the seed itself.
        state : dict, optional
            ``r.state`` of the call before; initial values by default.
        executor : concurrent.futures.Executor, optional
            Where ranges of replicates run. By default small calls run inline and large ones on threads; the result has
            the same bits wherever they run.
        record : sequence of str
            Names of sites and nodes whose values are wanted for every replicate.

        Raises
        ------
        CallError
            If values are missing, unknown, of wrong shape, not finite, or outside a parameter's constraint.
        NonFiniteError
            If the estimate is not finite; it names the node where that first appeared.
        """
        if more or unknown:  # taken only to be refused: a wrapper around small calls would cost a tenth of them
            self._calls.refuse_arguments("f", _OPTIONS, more, unknown)
        names = self._names_of(record)
        if names:
            return self._recorder(names)(values, samples=samples, rng=rng, state=state, executor=executor)
        return Estimate(self._layout, *self._calls(values, samples, rng, state, executor, self._explain_fault))

    def __getattr__(self, name: str):
        no_such(self, name, _INSTEAD_OF_CALLS)

    def __getitem__(self, name):
        no_item("f", name, "A compiled estimator is a function.", 'Call it: f(values).grad["theta"].')

    def _names_of(self, record) -> tuple[str, ...]:
        if record is None or (type(record) is tuple and not record):
            return ()
        several = isinstance(record, Iterable) and not isinstance(record, (str, Node))
        names = tuple(record) if several else (record,)
        if not all(isinstance(name, str) for name in names):
            raise CallError(calling(self._layout.name), f"record={record!r} was given.", "That is no name.",
                            "Give a tuple of names of sites and nodes.")
        return tuple(dict.fromkeys(map(str, names)))

    def _recorder(self, names: tuple[str, ...]) -> EstimatorFunction:
        found = self._recorders.get(names)
        if found is None:
            from scg.compile import lower

            if self._derivation is None:
                raise CallError(
                    calling(self._layout.name), "record= was given to an unpickled estimator.",
                    "What is recorded is compiled into a kernel of its own, and a pickle carries the one kernel that "
                    "makes estimates, not the graph.", "Compile the graph in this process and record there.")
            found = self._recorders[names] = lower(self._derivation, self._options, record=names)
        return found

    def _explain_fault(self, call: Call, failed: Sequence[int]) -> None:
        """Raise an error about the checks that failed, or else about the node where a number stopped being finite."""
        if self._derivation is not None:
            from scg.nonfinite import first_nonfinite, located

            known = {id(check.problem): check for check in self._derivation.draft.checks}
            problems = [self._layout.problems[i] for i in failed]
            raise_all([(CallError, located(known[id(problem)], self._layout, call) if id(problem) in known else problem)
                       for problem in problems])
            raise_all([(NonFiniteError, first_nonfinite(self._derivation, self._program, call))])

    def init(self, rng=None) -> dict[str, np.ndarray]:
        """Starting values of all params that have one: those declared with ``init=``, and those that estimators bring.

        Parameters
        ----------
        rng : None, int, SeedSequence or Generator
            As for a call.

        Returns
        -------
        dict of str to array
            To be given to a call with the other values: ``f({**f.init(0), "theta": 0.3})``.
        """
        from scg.initial import initial_values

        derivation = self._whole("init()")
        inits = {**{name: (derivation.graph.params[name].shape, init) for name, init in derivation.graph.inits.items()},
                 **{p.name: (p.leaf.shape, p.init) for p in derivation.draft.params}}
        try:
            return initial_values(self._layout.name, inits, rng)
        except TypeError as why:
            raise CallError(calling(self._layout.name), f"rng={rng!r} was given.", f"{why}.",
                            "Give None, an int, a SeedSequence or a Generator.") from None

    # --- looking ----------------------------------------------------------------------------------------------------
    def _whole(self, what: str) -> Derivation:
        if self._derivation is None:
            raise SCGError(calling(self._layout.name), f"{what} was asked for of an unpickled estimator.",
                           "It carries the kernel, not the graph.", "Compile the graph in this process.")
        return self._derivation

    @property
    def surrogate(self):
        return self._whole("surrogate").surrogate

    @property
    def source(self) -> str:
        return self._kernel.source

    def explain(self) -> str:
        """The story of the compilation: sites, estimators and why, who gets credit for what, what is computed."""
        if self._story is None:
            from scg.explain import story_of

            self._story = story_of(self._whole("explain()"), self._program, self._options)
        return self._story

    def export(self, path) -> None:
        """Write a standalone module: ``estimate(values, *, samples, rng, state)`` with the fields of an `Estimate`.

        It needs numpy and numba, not this package, and returns the same bits.
        """
        from scg.export.module import write

        write(self, path)

    def __repr__(self) -> str:
        word = "unbiased" if self.verdict.unbiased else "biased"
        return f'<EstimatorFunction of graph "{self._layout.name}", {word}>'

    def __getstate__(self):
        gone = {"_derivation": None, "_program": None, "_calls": None, "_recorders": None}
        return {**self.__dict__, **gone, "_story": self.explain(), "verdict": self.verdict.plain(),
                "_options": {**self._options, "strategy": None}}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._prepare()


def _explicit_groups(derivation: Derivation) -> bool:
    """Whether the user, and not the policy, asked for leave-one-out."""
    baselines = (getattr(v.estimator, "baseline", None) for v in derivation.verdicts.values()
                 if v.origin != "policy" and v.influenced)
    return any(getattr(b, "couples", False) for b in baselines)
