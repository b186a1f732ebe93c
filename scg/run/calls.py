"""A call of a compiled estimator: values and a seed go in, merged numbers come out.

Exported modules hold this text too, so that they refuse what the compiled function refuses, in the same words.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from scg.errors import CallError, NonFiniteError, raise_all
from scg.ir.location import calling
from scg.noise import REPLICATES, seed_of
from scg.program import FEWEST_GROUPS, MANY, Call, Division, Kernel, Layout, Partial, divide
from scg.run.estimate import Estimate
from scg.run.executors import run_on_threads
from scg.run.moments import Merged, finish, gather, merge, together
from scg.run.one_range import Size, are_few
from scg.run.standing import Together
from scg.run.values import NotFinite, are_finite, bind_leaves, bound
from scg.sums import SUM

VALUES: Mapping[str, Any] = MappingProxyType({})  # of a call without values
MOST_SIZES = 64  # of calls, of which is kept what is made once for each
LARGEST_PRODUCT = 1 << 62  # of samples and groups, which kernels multiply in 64 bits


class Calls:
    """Calls of one kernel.

    Parameters
    ----------
    layout : Layout
    kernel : Kernel
    initial : dict of str to float
        Initial values of the states.
    explicit_groups : bool
        Whether the user, and not the policy, asked for leave-one-out.
    measured : bool
        Whether standard errors are estimated.
    notes : tuple of str
        What is to be said of every estimate.
    """

    def __init__(self, layout: Layout, kernel: Kernel, initial: Mapping[str, float], explicit_groups: bool,
                 measured: bool, notes: tuple[str, ...] = ()):
        self.layout, self.kernel, self.initial = layout, kernel, initial
        self.explicit_groups, self.measured, self.notes = explicit_groups, measured, notes
        self._are_finite = getattr(kernel, "are_finite", None) or are_finite
        self._few, self._without_state = are_few(layout), not layout.states
        self._given_to = layout.name, layout.leaves, layout.dtype
        self._plans: dict[tuple[int, int], tuple[Division, tuple[str, ...], Callable, Size]] = {}
        self._divisions: dict[tuple[int, int], tuple[Division, tuple[str, ...]]] = {}

    def estimate(self, values: Mapping[str, Any], samples: int, rng, state: Mapping[str, Any] | None = None,
                 executor: Executor | None = None, explain: Callable[[Call, Any, bool], Any] | None = None) -> Estimate:
        """One call; `explain` may raise a better error where a check failed, or a number is not finite.

        Raises
        ------
        CallError
            If values are missing, unknown, of wrong shape, not finite, or outside a parameter's constraint.
        NonFiniteError
            If the estimate is not finite.
        """
        later: list[np.ndarray] = []
        if state is None and self._without_state:
            arrays, rows = bound(*self._given_to, values, later)
        else:
            arrays, rows = bind_leaves(self.layout, values, state, self.initial, later)
        try:
            return self._estimate(arrays, rows, later, samples, rng, executor, explain)
        except NotFinite:
            bind_leaves(self.layout, values, state, self.initial)  # says which
            raise CallError(calling(self.layout.name), "Values were changed while they were used.",
                            "Some were not finite for a while.", "Change them between calls.") from None

    def _estimate(self, arrays: tuple[np.ndarray, ...], rows: int, later: list[np.ndarray], samples: int, rng,
                  executor: Executor | None, explain: Callable[[Call, Any, bool], Any] | None) -> Estimate:
        """The estimate of arrays; those that are looked at `later` are not known to be finite yet."""
        try:
            seed = seed_of(rng)
        except TypeError:
            raise CallError(calling(self.layout.name), f"rng={rng!r} was given.",
                            f"A {type(rng).__name__} says nothing about which random numbers to use.",
                            "Use None, an int, a SeedSequence or a Generator.") from None
        if executor is None and type(samples) is int and (plan := self._plans.get((rows, samples))):
            division, notes, run, size = plan
            self._look_at(later)
            numbers = run(seed, arrays)
            if numbers is not None and (one := size.made(numbers)) is not None:
                return Estimate(self.layout, division, one, seed, {}, notes)
        division, notes = self.division(rows, samples)
        call = Call(arrays, seed, division)
        try:
            records = self._record_arrays(division) if self.layout.records else {}
            finish_by = getattr(self.kernel, "finish", None) or finish
            then = None if executor else together(self.layout, division, self.kernel, later)
            if then is None:
                self._look_at(later)
            gathered = gather(self.layout, division, self._run(call, executor, then), executor is None)
            if then is not None and then.unfit:
                raise NotFinite
            self._look_at(later)
        except MemoryError:
            raise CallError(calling(self.layout.name), f"samples={samples} was asked for.",
                            "What is kept of them does not fit into memory.",
                            "Use fewer, in several calls with different rng.") from None
        merged = merge(self.layout, division, gathered, finish_by, then)
        if merged.fault:
            self._refuse(merged, call, explain)
        if self.layout.uncoupled is not None and merged.known[self.layout.spans["coupling"][0][1]][-1] > 0.5:
            raise_all([(CallError, self.layout.uncoupled)])
        if self._few and len(division.chunks) == 1:
            self._plan(division, notes)
        if records:
            _fill(records, self.layout, division, gathered.partials)
        return Estimate(self.layout, division, merged, seed, records, notes + self._ties(merged))

    def _plan(self, division: Division, notes: tuple[str, ...]) -> None:
        """Prepare further calls of this size: small ones do nothing that they need not."""
        run = self.kernel.prepared(division) if hasattr(self.kernel, "prepared") else None
        if run is not None:
            if len(self._plans) > MOST_SIZES:
                self._plans.clear()
            self._plans[division.rows, division.samples] = division, notes, run, Size(self.layout, division)

    def _ties(self, merged: Merged) -> tuple[str, ...]:
        """What to say of kinks that were met."""
        spans = self.layout.spans.get("tie")
        if spans is None:  # as nearly always: small calls do nothing that they need not
            return ()
        return tuple(dict.fromkeys(slot.name for slot, where in spans if np.any(merged.known[where])))

    def refuse_arguments(self, name: str, options: Sequence[str], more: tuple, unknown: Mapping[str, Any]) -> NoReturn:
        """Refuse what a call was given besides values and what it takes by name."""
        given = ", ".join(["values", *("…" for _ in more), *(f"{each}=…" for each in unknown)])
        raise CallError(calling(self.layout.name), f"{name}({given}) was called.",
                        f"It takes one dict of values, and by name {', '.join(options[:-1])} and {options[-1]}.",
                        f'Call it as {name}({{"theta": 0.3}}, samples=1000, rng=0).')

    def division(self, rows: int, samples: int) -> tuple[Division, tuple[str, ...]]:
        """How the replicates of a call are divided, and what to know about its numbers."""
        found = self._divisions.get((rows, samples)) if type(samples) is int else None
        if found is not None:
            return found
        self._check(samples)
        samples = int(samples)
        if rows * samples >= REPLICATES:
            raise CallError(calling(self.layout.name), f"samples={samples} was asked for.",
                            f"With {rows} row(s) that is more than 2^42 replicates, which noise cannot tell apart.",
                            "Use fewer, in several calls with different rng.")
        division = divide(self.layout, rows, samples)
        if self.layout.coupled and (samples + 1) * (division.groups + 1) >= LARGEST_PRODUCT:
            raise CallError(calling(self.layout.name), f"samples={samples} was asked for.",
                            f"They fall into {division.groups} leave-one-out groups, more than can be counted.",
                            "Use fewer, in several calls with different rng.")
        if len(self._divisions) > MOST_SIZES:
            self._divisions.clear()
        self._divisions[rows, samples] = division, self.notes + self._notes(division)
        return self._divisions[rows, samples]

    def _check(self, samples: int) -> None:
        where = calling(self.layout.name)
        if not isinstance(samples, (int, np.integer)) or isinstance(samples, bool) or samples < 1:
            raise CallError(where, f"samples={samples!r} was asked for.", "It is the number of replicates per row.",
                            "Use a whole number from 1.")
        if self.explicit_groups and samples == 1:
            raise CallError(where, "A leave-one-out baseline was asked for with samples=1.",
                            "There is no other replicate to take the mean of.",
                            "Use samples=2 or more, or another baseline.")
        group = self.layout.group
        if group is not None and samples % group:
            raise CallError(where, f"LeaveOneOut(group={group}) was asked for with samples={samples}.",
                            f"{samples} samples do not fall into groups of {group}.", f"Use a multiple of {group}.")

    def _run(self, call: Call, executor: Executor | None, then: Together | None) -> Iterable[Partial]:
        chunks = call.division.chunks
        if executor is None:
            if len(chunks) == 1:
                return [self.kernel.run(call, chunks[0])]
            return run_on_threads(self.kernel, call, self.layout.width > MANY, then)
        if not callable(getattr(executor, "map", None)):
            raise CallError(calling(self.layout.name), f"executor={executor!r} was given.", "It has no method map.",
                            "Give a concurrent.futures.Executor, or None.")
        found = executor.map(_numbered, itertools.repeat(self.kernel, len(chunks)),
                             itertools.repeat(call, len(chunks)), range(len(chunks)))
        results = list(found) if isinstance(found, Iterable) else [found]
        if not all(map(_is_numbered, results)) or [number for number, _ in results] != [*range(len(chunks))]:
            kinds = ", ".join(dict.fromkeys(type(result).__name__ for result in results)) or "nothing"
            raise CallError(calling(self.layout.name), f"executor={executor!r} was given.",
                            f"For {len(chunks)} parts of the call its map returned {len(results)} results, of type "
                            f"{kinds}, that are not those of the parts in their order: what is lost, comes twice or in "
                            "another's place would change the estimate.",
                            "Give an executor whose map returns what the function returned, once for each part, in "
                            "their order.")
        return [part for _, part in results]

    def _look_at(self, arrays: list[np.ndarray]) -> None:
        """That arrays are finite is seen now, and need not be seen again."""
        if arrays and not self._are_finite(arrays):
            raise NotFinite
        arrays.clear()

    def _notes(self, division: Division) -> tuple[str, ...]:
        notes, few = [], f"fewer than {FEWEST_GROUPS} leave-one-out groups"
        if self.layout.coupled and division.samples == 1:
            notes.append("a leave-one-out group of one: its baseline is 0")
        elif self.layout.coupled and not division.by_group and self.measured:
            alone = division.groups == 1 and division.rows > 1 and not self.layout.shared
            groups = "one leave-one-out group in a row" if alone else few
            notes.append(f"{groups}: standard errors treat coupled replicates as independent, and may be too small")
        elif self.layout.row_numbers > 1 and self.layout.coupled and not division.rows_by_group:
            notes.append(f"{few} in a row: standard errors by row treat coupled replicates as independent, and may be "
                         "too small")
        return tuple(notes)

    def _record_arrays(self, division: Division) -> dict[str, np.ndarray]:
        """Arrays for what is recorded, before anything is computed: what cannot be kept is refused at once.

        Systems promise more memory than they have, and end the process that uses it.
        """
        count = division.rows * division.samples
        if 8 * count * sum(slot.size for slot in self.layout.records) > _memory():
            raise MemoryError
        return {slot.name: np.empty((division.rows, division.samples, *slot.shape)) for slot in self.layout.records}

    def _refuse(self, merged: Merged, call: Call, explain: Callable[[Call, Any, bool], Any] | None) -> None:
        spans = self.layout.spans.get("check", ())
        failed = [i for i, (_, where) in enumerate(spans[: len(self.layout.problems)])
                  if not np.all(merged.mean[where] == 0.0)]
        began = set(failed) <= set(self.layout.finiteness) and not _is_finite(merged)  # where that began says more
        if explain is not None:
            explain(call, failed, began)
        raise_all([(CallError, self.layout.problems[i]) for i in (() if began else failed)])
        raise NonFiniteError(calling(self.layout.name), "The estimate is not finite.",
                             "A node of the graph is not, in at least one replicate.",
                             "Compile the graph in this process: then the node is named.")


def _is_finite(merged: Merged) -> bool:
    """Whether every number of an estimate is finite."""
    by_row = () if merged.by_row is None else merged.by_row[SUM]
    return bool(np.isfinite(merged.mean).all() and np.isfinite(by_row).all())


def _numbered(kernel: Kernel, call: Call, number: int) -> tuple[int, Partial]:
    """The partial result of a chunk and the chunk's number, so that none gets lost, or into another's place."""
    return number, kernel.run(call, call.division.chunks[number])


def _is_numbered(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Partial)


def _memory() -> float:
    """How many bytes of memory this machine has, as far as it says."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 2.0**48


def _fill(records: dict[str, np.ndarray], layout: Layout, division: Division, partials: Sequence[Partial]) -> None:
    """Put every chunk's values in their place."""
    for i, slot in enumerate(layout.records):
        for chunk, part in zip(division.chunks, partials):
            rows = slice(chunk.row0, chunk.row0 + chunk.rows)
            values = part.records[i].reshape(chunk.rows, chunk.k1 - chunk.k0, *slot.shape)
            records[slot.name][rows, chunk.k0 : chunk.k1] = values
