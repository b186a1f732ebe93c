"""The compiled estimator, calling it, and what a call returns.

What a call does is in `scg.run.calls`; here are its result, and what else a compiled estimator can be asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np

from scg.ir.signed import no_item, no_such
from scg.large import copied
from scg.program import MANY, MEASURED, Division, Layout, comparisons
from scg.run.by_name import ByName, Errors, Gradients, Named
from scg.run.coupling import Coupling
from scg.run.moments import (
    ALL_ALIKE,
    CHAINS_APART,
    MANY_ALL_ALIKE,
    MANY_CHAINS,
    NO_ERRORS,
    Merged,
    all_known,
    finish,
    not_known,
    row_errors,
    row_means,
)
from scg.run.one_range import OneRange
from scg.run.table import html_of, table_of


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
        the gradient varies by replicate. From the observations of all replicates, but where a large gradient is summed
        as it comes: there from comparisons of halves of the samples (`scg.program.comparisons`), which `notes` names.
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
    coupling : Coupling or None
        Of a chain's gradient by phantom chains: after how many steps these met.
    notes : tuple of str
        What to know about the numbers.
    """

    _MEANT = {**dict.fromkeys(("gradient", "gradients", "grads"), 'Use r.grad["theta"].'),
                **dict.fromkeys(("loss", "value", "objective", "mean"), "Use r.cost."),
                **dict.fromkeys(("std", "se", "error", "sem"), 'Use r.stderr["theta"], or r.cost_stderr.')}
    __slots__ = ("_division", "_found", "_layout", "_merged", "_of_call", "_record", "_to_give", "seed")

    def __init__(self, layout: Layout, division: Division, merged: Merged | OneRange, seed: int, record, notes):
        self._layout, self._division, self._merged = layout, division, merged
        self.seed, self._record, self._of_call = seed, record, notes
        self._found: np.ndarray | list[float] | None = None  # standard errors, once they have been asked for
        self._to_give = [merged.large]

    def __getattr__(self, name: str):
        no_such(self, name, self._MEANT)

    def __getitem__(self, name):
        no_item("r", name, "An estimate holds several results of each name.",
                'Ask for one of them: r.grad["theta"], r.stderr["theta"], r.costs["loss"], r.record["b"].')

    def _means(self, role: str, found: Named) -> Named:
        """Means in the working type put there, in arrays of their own: what becomes of them changes nothing here."""
        merged, layout = self._merged, self._layout
        if not merged.large:
            return self._arrays(role, found, merged.known, layout.dtype)
        large = {where.start: values for where, values in self._large(role)}
        for name, where, shape in layout.entries.get(role, ()):
            apart = large.get(where.start) if isinstance(where, slice) else None
            values = merged.known[where].astype(layout.dtype) if apart is None else apart
            found[name] = values if shape is None else values.reshape(shape)
        return found

    def _large(self, role: str) -> Iterable[tuple[slice, np.ndarray]]:
        """Large means and their places: the arrays themselves go to who asks first, if nothing else is made of them."""
        merged = self._merged
        if role == "grad" and not self._layout.errors and merged.stands is not None:
            with contextlib.suppress(IndexError):
                return self._to_give.pop()
            again = merged.stands.means(finish)
            assert again is not None, "they were finite"
            return again.sums()
        return [(where, copied(values, values.dtype)) for where, values in merged.large]

    def _arrays(self, role: str, found: Named, vector: np.ndarray, dtype: str) -> Named:
        """Parts of a copy put there: what becomes of it changes nothing here."""
        entries = self._layout.entries.get(role, ())
        own = copied(vector, dtype) if len(vector) > MANY else vector.astype(dtype)
        for name, where, shape in entries:
            found[name] = own[where] if shape is None else own[where].reshape(shape)
        return found

    @property
    def samples(self) -> int:
        return self._division.samples

    @property
    def rows(self) -> int:
        return self._division.rows

    @property
    def cost(self) -> float:
        merged = self._merged  # the whole cost is the first output
        return merged.cost if type(merged) is OneRange else float(merged.known[0])

    @property
    def cost_stderr(self) -> float:
        return float(self._errors()[0])

    @property
    def record(self) -> dict[str, np.ndarray]:
        return ByName(self._record, "r.record", 'Ask for it in the call: f(values, record=("b",)).')

    @property
    def costs(self) -> dict[str, float]:
        found = self._arrays("cost", Named(), self._merged.known, "float64")
        return ByName(((name, float(value)) for name, value in found.items() if name), "r.costs",
                      "Costs have the names that g.cost gave them.")

    @property
    def grad(self) -> dict[str, np.ndarray]:
        merged = self._merged
        if type(merged) is OneRange:
            return merged.gradients(Gradients())
        found, numbers = self._means("grad", Gradients()), merged.by_row
        if numbers is not None:
            return Gradients(self._with_rows(found, row_means(self._division, numbers), self._layout.dtype))
        return found

    @property
    def stderr(self) -> dict[str, np.ndarray]:
        errors, merged = self._errors(), self._merged
        if type(errors) is list and type(merged) is OneRange:
            return merged.of_gradients(errors, Errors())
        found, numbers = self._arrays("grad", Errors(), np.asarray(errors), "float64"), merged.by_row
        if numbers is not None:
            return Errors(self._with_rows(found, self._row_errors(numbers), np.float64))
        return found

    @property
    def state(self) -> dict[str, np.ndarray]:
        return ByName(self._means("state", Named()), "r.state", "Only moving averages have a state.")

    @property
    def coupling(self) -> Coupling | None:
        spans = self._layout.spans.get("coupling")
        return Coupling(self._merged.known[spans[0][1]]) if spans else None

    def _errors(self) -> np.ndarray | list[float]:
        if self._found is None:
            self._found = self._standard_errors()
        return self._found

    def _standard_errors(self) -> np.ndarray | list[float]:
        merged, layout, count = self._merged, self._layout, self._division.samples * self._division.rows
        if type(merged) is OneRange and not self._by_batches and (few := merged.errors()) is not None:
            return few
        variance = copied(merged.variance, np.float64)
        if not all_known(variance, count):
            for where in layout.errors:
                part = variance[where]
                if not all_known(part, count):
                    part[not_known(self._merged.mean[where], part, count)] = np.nan
        if self._by_batches:
            self._put_batches(variance)
        for where in layout.unmeasured:
            variance[where] = np.nan
        for where in layout.steady:
            variance[where] = 0.0
        return np.sqrt(variance, out=variance)

    @property
    def _by_batches(self) -> bool:
        """Whether the one replicate of a row is divided into batches, whose means are the observations."""
        return self._layout.batches > 1 and self.samples == 1

    def _put_batches(self, variance: np.ndarray) -> None:
        spans = self._layout.spans
        found = {slot.name: self._merged.mean[where] for slot, where in spans.get("batches", ())}
        for role in ("cost", "grad"):
            for slot, where in spans.get(role, ()):
                alone = role == "cost" and len(spans["cost"]) == 1
                known = found.get("" if alone else slot.name)
                if known is not None and (role == "grad" or alone or not slot.name):
                    variance[where] = np.maximum(known, 0.0) / self.rows

    @property
    def notes(self) -> tuple[str, ...]:
        apart = self.coupling.note if self.coupling is not None else ""
        found = (*self._unmeasured(), *self._underflows(), *self._all_alike(), *self._chains_apart())
        return self._of_call + found + ((apart,) if apart else ())

    @property
    def _measured(self) -> bool:
        """Whether standard errors were asked for."""
        return any(slot.moments or slot.compared or slot.steady for slot in (*self._layout.means, *self._layout.by_row))

    def _unmeasured(self) -> Iterable[str]:
        """What to say of standard errors that are NaN, or of what each is."""
        slots = *self._layout.means, *self._layout.by_row
        if not self._measured or all(slot.steady for slot in slots if slot.role in MEASURED):
            return  # they were not asked for, or are 0
        if self._by_batches:
            yield f"one chain: standard errors are those of the means of its {self._layout.batches} batches"
            return
        if self._division.samples == 1:
            yield NO_ERRORS
            return
        compared = [slot.name for slot in slots if slot.compared and not slot.steady]
        if compared:
            yield (f"standard errors from {self._comparisons} comparisons of one half of the samples with the other: "
                   + ", ".join(compared))
        large = [slot.name for slot in slots
                 if slot.role in MEASURED and not (slot.moments or slot.compared or slot.steady)]
        if large:
            yield f"the standard errors of large gradients are not computed: {', '.join(large)}"
        errors = np.asarray(self._errors())
        lost = [name for role in ("cost", "grad") for name, where, _ in self._layout.entries.get(role, ())
                if name not in large and np.isnan(errors[where]).any()]
        if self._merged.by_row is not None:
            table = self._with_rows({}, self._row_errors(self._merged.by_row), np.float64, partly=True)
            lost += [name for name, values in table.items() if name not in large and np.isnan(values).any()]
        if lost:
            yield ("standard errors are not known where deviations are too small or too large, or lost in float32: "
                   + ", ".join(name or "the whole cost" for name in dict.fromkeys(lost)))

    @property
    def _comparisons(self) -> int:
        """How many there are in all."""
        return sum(len(comparisons(self._layout, self._division, chunk)) for chunk in self._division.chunks)

    def _all_alike(self) -> Iterable[str]:
        """What to say of scores where every replicate drew the same: an error of 0 is none where others are rare."""
        count = self.samples * self.rows
        if not self._layout.scored or not self._measured or self._by_batches or count < MANY_ALL_ALIKE:
            return
        errors, means = np.asarray(self._errors()), np.asarray(self._merged.mean)

        def alike(where: slice) -> bool:
            return bool(np.all(errors[where] <= ALL_ALIKE * np.abs(means[where])))

        spans = self._layout.spans
        if not all(alike(where) for _, where in spans["cost"]):
            return
        scored = [(slot.name, alike(where)) for slot, where in spans.get("grad", ())
                  if slot.name in self._layout.scored and slot.moments and not slot.steady]
        same = [f'"{name}"' for name, wholly in scored if wholly]
        relaxed = [f'"{name}"' for name, wholly in scored if not wholly and name in self._layout.relaxed]
        for what, names in ((f"all {count:,} replicates", same), (f"the costs of all {count:,} replicates", relaxed)):
            if names:
                yield (f"{what} are alike: what is drawn too rarely for them may be missing in the gradient in "
                       f"{' and '.join(names)}, and in its error")

    def _chains_apart(self) -> Iterable[str]:
        """What to say of chains whose means differ by more than batches within each of them tell.

        For chains of one law both variances are the same in the long run (Gelman & Rubin 1992).
        """
        layout, merged = self._layout, self._merged
        if layout.batches < 2 or self.rows > 1 or self.samples < MANY_CHAINS:
            return
        where = next(where for slot, where in layout.spans["batches"] if not slot.name)
        within = max(float(merged.mean[where][0]), 0.0) + float(np.finfo(layout.dtype).eps) * self.cost**2
        if self.samples * self.cost_stderr**2 > CHAINS_APART * within:
            yield ("the chains' mean costs differ by far more than parts of each tell: they mix slowly, or stay in one "
                   "of several classes of states; what a param does to which of them it is, is not in its gradient")

    def _underflows(self) -> Iterable[str]:
        """Gradients that are not 0 but become 0 in the working type."""
        if self._layout.dtype == "float64":
            return
        means, tables = self._merged.known, self._merged.by_row
        large = [where for where, _ in self._merged.large]  # none of these became 0
        lost = [name for name, where, _ in self._layout.entries.get("grad", ()) if where not in large
                and np.any((means[where] != 0.0) & (means[where].astype(self._layout.dtype) == 0.0))]
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
        return np.where(steady, 0.0, np.where(kept, row_errors(self._division, numbers), np.nan))

    def __repr__(self) -> str:
        samples = f"{self.samples} replicates" if self.samples > 1 else "one replicate (samples= says how many)"
        rows = f" of each of {self.rows} rows" if self.rows > 1 else ""
        title = f"Estimate from {samples}{rows}, seed {self.seed}"
        if not self._measured:
            return table_of(title, self.grad, self.cost, notes=self.notes)
        return table_of(title, self.grad, self.cost, self.cost_stderr, self.stderr, self.notes)

    def _repr_html_(self) -> str:
        samples = f"{self.samples:,} replicates" if self.samples > 1 else "one replicate"
        if self.rows > 1:
            samples += f" of each of {self.rows:,} rows, {self.samples * self.rows:,} in all"
        title = f"Estimate from {samples}; seed {self.seed}"
        if not self._measured:
            return html_of(title, self.grad, self.cost, self.costs, notes=self.notes)
        return html_of(title, self.grad, self.cost, self.costs, self.cost_stderr, self.stderr, self.notes)
