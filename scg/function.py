"""The compiled estimator: calling it, and what else it can be asked.

What a call does is in `scg.run.calls`; what it returns, in `scg.run.estimate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from types import MappingProxyType
from typing import Any

import numpy as np

from scg.analysis.integers import not_of_indices
from scg.backend import load
from scg.compiled import Derived, Needed, derived_of, needed_of
from scg.errors import CallError, DeclarationError, NonFiniteError, SCGError, raise_all
from scg.explain import story_of
from scg.export.credit_table import Credit, credit_of
from scg.export.module import write
from scg.export.surrogate import Surrogate
from scg.hessian import HessianProducts, SecondOrderEstimate, check_size
from scg.initial import initial_values, offered, starts, starts_of
from scg.ir.check import Check
from scg.ir.location import calling, here
from scg.ir.node import Node, constant
from scg.ir.signed import no_item, no_such, signed
from scg.noise import seed_of
from scg.program import Call, Kernel, Layout
from scg.run.calls import VALUES, Calls
from scg.run.estimate import Estimate
from scg.run.nonfinite import first_nonfinite, located, may_be_meant
from scg.schedule import plan, printed
from scg.surrogate.derivation import Derivation
from scg.verdict import Verdict

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
    schedule : str
        What a kernel does, step by step: its plan in the loop language (see docs/kernels.md).
    source : str
        The kernel's text.
    """

    def __init__(self, needed: Needed, derived: Callable[[], Derived], options: dict[str, Any],
                 seconds: Mapping[str, float] = MappingProxyType({}), starts: Mapping[str, Any] | None = None):
        self._needed, self._options = needed, options
        self._later: Callable[[], Derived] | None = derived  # a function that was found is derived when it is looked at
        self._seconds = dict(seconds)  # what compiling took
        self._starts = starts  # of the params, where nothing needs to be derived for them
        self._story: str | None = None  # of a function that was unpickled
        self._formulas: str | None = None
        self._said: Verdict | None = None
        self._prepare()

    def _prepare(self) -> None:
        needed = self._needed
        self._calls = Calls(needed.layout, needed.kernel, needed.initial, needed.explicit_groups,
                            self._options["stderr"], needed.notes)
        self._derived: Derived | None = None
        self._recorders: dict[tuple[str, ...], EstimatorFunction] = {}
        self._products: HessianProducts | None = None

    @property
    def _layout(self) -> Layout:
        return self._needed.layout

    @property
    def _kernel(self) -> Kernel:
        return self._needed.kernel

    @property
    def _initial(self) -> Mapping[str, float]:
        return self._needed.initial

    @property
    def _explicit_groups(self) -> bool:
        return self._needed.explicit_groups

    def _all(self) -> Derived | None:
        """All that was derived; None if the function was unpickled."""
        if self._derived is None and self._later is not None:
            self._derived = self._later()
        return self._derived

    @property
    def _derivation(self) -> Derivation | None:
        derived = self._all()
        return None if derived is None else derived.derivation

    @property
    def verdict(self) -> Verdict:
        derived = self._all()
        return self._said if derived is None else derived.verdict  # type: ignore[return-value]  # one of them is there

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
            Names of sites and nodes whose values are wanted for every replicate; or of symbols in the surrogate's
            formulas: ``"h'"``, a loop's ``"pos"`` or ``"carry_0"``. What is in worlds, or steps, has a value in each.

        Raises
        ------
        CallError
            If values are missing, unknown, of wrong shape, not finite, or outside a parameter's constraint.
        NonFiniteError
            If the estimate is not finite; it names the node where that first appeared.
        """
        if more or unknown:  # taken only to be refused: a wrapper around small calls would cost a tenth of them
            self._calls.refuse_arguments("f", _OPTIONS, more, unknown)
        if (type(record) is not tuple or record) and (names := self._names_of(record)):
            return self._recorder(names)(values, samples=samples, rng=rng, state=state, executor=executor)
        try:
            return self._calls.estimate(values, samples, rng, state, executor, self._explain_fault)
        except CallError as error:
            raise offered(error, self._begun, values) from None

    def __getattr__(self, name: str):
        no_such(self, name, _INSTEAD_OF_CALLS)

    def __getitem__(self, name):
        no_item("f", name, "A compiled estimator is a function.", 'Call it: f(values).grad["theta"].')

    def hvp(self, values: Mapping[str, Any], direction: Mapping[str, Any], *, samples: int = 1, rng=None,
            executor: Executor | None = None) -> Estimate:
        """Estimate H v: the Hessian of the objective times a direction.

        A kernel of its own is compiled by the first call. Sites whose estimator passes the gradient keep their path;
        all others are scored at the first derivative, and under their estimator at the second.

        Parameters
        ----------
        values : dict of str to array_like
            As for a call.
        direction : dict of str to array_like
            v, by the names of what is differentiated, in their shapes; 0 for those that are left out.
        samples, rng, executor
            As for a call.

        Returns
        -------
        Estimate
            ``grad[name]`` is (H v)[name], `stderr` its standard error, and `cost` the derivative ∇F · v.

        Raises
        ------
        CallError
            If values or direction cannot be used.
        SCGError
            If an estimator is biased, or the second derivative jumps.

        References
        ----------
        Schulman et al. 2015, section 3.3; Foerster et al. 2018; Mao et al. 2019.
        """
        return self._second_order()(values, direction, samples=samples, rng=rng, executor=executor)

    def _second_order(self) -> HessianProducts:
        if self._products is None:
            self._products = HessianProducts(self._whole("A second derivative"), self._options, function_of)
        return self._products

    def _names_of(self, record) -> tuple[str, ...]:
        if record is None:
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
            if self._derivation is None:
                raise CallError(
                    calling(self._layout.name), "record= was given to an unpickled estimator.",
                    "What is recorded is compiled into a kernel of its own, and a pickle carries the one kernel that "
                    "makes estimates, not the graph.", "Compile the graph in this process and record there.")
            found = self._recorders[names] = function_of(self._derivation, self._options, names)
        return found

    def _explain_fault(self, call: Call, failed: Sequence[int], began: bool) -> None:
        """Raise an error about the checks that failed; or about the node where a number stopped being finite, if it
        `began` somewhere.
        """
        derived = self._all()
        if derived is not None:
            known = {id(check.problem): check for check in derived.derivation.draft.checks}
            problems = [derived.program.layout.problems[i] for i in failed]
            checks = [known.get(id(problem), Check(problem, constant(0.0))) for problem in problems]
            raise_all([(CallError, located(check, self._layout, call)) for check in not_of_indices(checks)
                       if not began or may_be_meant(check, self._layout, call)])
            raise_all([(NonFiniteError, first_nonfinite(derived.derivation, derived.program, call))])

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
        if self._starts is None and self._all() is None:
            self._whole("init()")
        try:
            seed = seed_of(rng)
        except TypeError as why:
            raise CallError(calling(self._layout.name), f"rng={rng!r} was given.", f"{why}.",
                            "Give None, an int, a SeedSequence or a Generator.") from None
        return initial_values(self._layout.name, self._begun, seed)

    @property
    def _begun(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The shapes and initial values of all params that have one, as far as is known."""
        if self._starts is None and (derived := self._all()) is not None:
            self._starts = {**starts_of(derived.derivation.graph), **starts(derived.derivation.draft.params)}
        return self._starts or {}

    # --- looking ----------------------------------------------------------------------------------------------------
    def _whole(self, what: str) -> Derivation:
        return self._everything(what).derivation

    def _everything(self, what: str) -> Derived:
        derived = self._all()
        if derived is None:
            raise SCGError(calling(self._layout.name), f"{what} was asked for of an unpickled estimator.",
                           "It carries the kernel, not the graph.", "Compile the graph in this process.")
        return derived

    @property
    def surrogate(self):
        return Surrogate(self._whole("surrogate"))

    @property
    def schedule(self) -> str:
        """The plan of a kernel: what is done once per range of replicates, and for each tile of them."""
        return printed(plan(self._everything("schedule").program))

    @property
    def source(self) -> str:
        return self._in_full()._kernel.source

    def explain(self) -> str:
        """The story of the compilation: sites, estimators and why, who gets credit for what, what is computed."""
        if self._story is not None:
            return self._story
        derived = self._everything("explain()")
        story = story_of(derived.derivation, derived.program, self._kernel, self._options, self._seconds)
        tables = list({id(table): table for table in self.measured.values()}.values())
        return "\n\n".join([story, *(f"measured at site {self._measured_in(table)}:\n{table}" for table in tables)])

    def _measured_in(self, table: Any) -> str:
        return " and ".join(f'"{site}"' for site, other in self.measured.items() if other is table)

    @property
    def measured(self) -> Mapping[str, Any]:
        """Where ``strategy="auto"`` chose: for each site the comparison by which it did."""
        return self._options.get("measured", {})

    @property
    def credit(self) -> Credit:
        """Which costs weigh the draws of which sites, and how: ``f.credit["b"]["loss"]``, and as a table.

        Its ``.draw(path)`` is a picture.
        """
        return credit_of(self._whole("credit"))

    def draw(self, path=None):
        """A picture of the graph with the estimators that were compiled; see `Graph.draw`.

        Parameters
        ----------
        path : str or path, optional
            Where to write it.

        Returns
        -------
        Drawing
        """
        from scg.export.picture import drawn

        derivation = self._whole("draw()")
        return drawn(derivation.graph, derivation, path)

    @signed
    def export(self, path, *, values: Mapping[str, Any] | None = None, record: Sequence[str] = (),
               overwrite: bool = False) -> None:
        """Write a standalone module: ``estimate(values, samples=…, rng=…, state=…, executor=…)`` returns an `Estimate`.

        It needs numpy and numba (scipy and threadpoolctl too, if a product is large), not this package, and returns the
        same bits. Arrays beyond a few kB lie in a file beside it, ``NAME-DIGEST.npz``, which goes where it goes.

        Parameters
        ----------
        path : str or path
            A file in a folder that exists. It is there as a whole or not at all.
        values : dict of str to array_like, optional
            Values of a call: run as a program, the module estimates there again what `f` does now. They are written
            into it. By default simple numbers are tried.
        record : sequence of str
            Names of sites and nodes whose values the module returns for every replicate, with every call.
        overwrite : bool
            Whether a file that is there is replaced.

        Raises
        ------
        CallError
            If `values` or `record` cannot be used.
        SCGError
            If the backend makes no standalone kernels, or the file cannot be written.
        """
        names = self._names_of(record)
        write((self._recorder(names) if names else self)._in_full(), path, values, overwrite)

    def _in_full(self) -> EstimatorFunction:
        """The same with all words, also where it was found by what it computes."""
        derived = self._all()
        if derived is None or derived.kernel is self._kernel:
            return self
        needed = needed_of(derived)._replace(notes=self._calls.notes)
        return type(self)(needed, lambda: derived, self._options, self._seconds)

    def _formulas_in_words(self) -> str:
        """The lines of ``print(f.surrogate)``, also of an unpickled function."""
        if self._formulas is None:
            self._formulas = str(self.surrogate)
        return self._formulas

    def __repr__(self) -> str:
        word = "unbiased" if self.verdict.unbiased else "biased"
        return f'<EstimatorFunction of graph "{self._layout.name}", {word}>'

    def _repr_html_(self) -> str:
        from scg.export.notebook import function_in_html

        return function_in_html(self)

    def __getstate__(self):
        gone = dict.fromkeys(("_later", "_derived", "_starts", "_calls", "_recorders", "_products"))
        told = {"_story": self.explain(), "_formulas": self._formulas_in_words(), "_said": self.verdict.plain(),
                "_needed": self._in_full()._needed}
        return {**self.__dict__, **gone, **told, "_options": {**self._options, "strategy": None, "measured": {}}}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._prepare()


class SecondOrderFunction(EstimatorFunction):
    """A compiled estimator that returns the Hessian besides the gradient: ``scg.compile(g, order=2)``."""

    def __call__(self, values: Mapping[str, Any] = VALUES, *more, samples: int = 1, rng=None, state=None,
                 executor: Executor | None = None, record: Sequence[str] = (), **unknown) -> SecondOrderEstimate:
        """Estimate the objective, its gradient and its Hessian; see `EstimatorFunction`.

        The Hessian takes a call of its own kernel for each element of what is differentiated, under the same seed.
        """
        r = super().__call__(values, *more, samples=samples, rng=rng, state=state, executor=executor, record=record,
                             **unknown)
        out = SecondOrderEstimate(r._layout, r._division, r._merged, r.seed, r._record, r._of_call)
        out.hessian, out.hessian_stderr = self._second_order().whole(values, samples=samples, rng=r.seed,
                                                                     executor=executor)
        return out

    def export(self, path, *, values: Mapping[str, Any] | None = None, record: Sequence[str] = (),
               overwrite: bool = False) -> None:
        """Refused: a module has one kernel, and a Hessian takes two.

        Raises
        ------
        DeclarationError
            Always.
        """
        raise DeclarationError(calling(self._layout.name), f"export({str(path)!r}) was called, of order 2.",
                               "A module has one kernel, that of the gradient; a Hessian takes another one.",
                               "Export scg.compile(graph), whose gradients are the same.")


def function_of(derivation: Derivation, options: dict[str, Any], record: Sequence[str] = (),
                seconds: Mapping[str, float] = MappingProxyType({})) -> EstimatorFunction:
    """From a surrogate to a function; `seconds` is what deriving that took."""
    took = dict(seconds)
    derived = derived_of(derivation, options, record, took)
    kind = EstimatorFunction if options.get("order", 1) == 1 else SecondOrderFunction
    f = kind(needed_of(derived), lambda: derived, options, took)
    if isinstance(f, SecondOrderFunction):
        check_size(f._second_order())
    return f


def compiled_by(f: EstimatorFunction, backend: str) -> EstimatorFunction:
    """The same function, compiled by another backend."""
    derived = f._everything("Another backend")
    again = derived._replace(kernel=load(backend).compile(derived.program))
    return EstimatorFunction(needed_of(again), lambda: again, {**f._options, "backend": backend}, f._seconds)


def type_name(dtype) -> str:
    """The name of one of the two types that kernels work in; NumPy's and Python's own types are known too."""
    try:
        name = "" if dtype is None else np.dtype(dtype).name  # NumPy takes None for float64
    except TypeError:
        name = ""
    if name not in ("float64", "float32"):
        raise DeclarationError(str(here() or ""), f"dtype={dtype!r} was asked for.", "Kernels work in two types.",
                               'Use "float64" or "float32".')
    return name
