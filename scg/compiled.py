"""From a surrogate to a kernel: the second half of the pipeline, and what calls need of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from scg.backend import load
from scg.export.draws import recorded_by_name
from scg.passes.outputs import program_of
from scg.program import Kernel, Layout, Program
from scg.schedule import measured
from scg.simplification import simplified
from scg.surrogate.derivation import Derivation
from scg.verdict import Verdict


class Derived(NamedTuple):
    """All that is derived and compiled of a graph."""

    derivation: Derivation
    program: Program
    kernel: Kernel
    verdict: Verdict


class Needed(NamedTuple):
    """What calls of a function need.

    Attributes
    ----------
    layout : Layout
    kernel : Kernel
    initial : dict of str to float
        Initial values of the states.
    explicit_groups : bool
        Whether the user, and not the policy, asked for leave-one-out.
    notes : tuple of str
        What is to be said of every estimate.
    """

    layout: Layout
    kernel: Kernel
    initial: Mapping[str, float]
    explicit_groups: bool
    notes: tuple[str, ...]


def derived_of(derivation: Derivation, options: Mapping[str, Any], record: Sequence[str] = (),
               took: dict[str, float] | None = None) -> Derived:
    """The second half of the pipeline: from a surrogate to a kernel; into `took` goes what its parts take."""
    technology = load(options["backend"])
    times = [perf_counter()]
    drawn = recorded_by_name(derivation, record)
    program = measured(simplified(program_of(derivation, options["dtype"], options["stderr"], record, drawn)))
    times.append(perf_counter())
    kernel = technology.compile(program)
    times.append(perf_counter())
    if took is not None:
        took |= {"derivatives and their simplification": times[1] - times[0], "the kernel's text": times[2] - times[1]}
    verdict = Verdict(derivation.verdicts, derivation.of_costs, derivation.idle, derivation.narrow)
    return Derived(derivation, program, kernel, verdict)


def needed_of(derived: Derived) -> Needed:
    """What calls need of what was derived."""
    derivation = derived.derivation
    return Needed(derived.program.layout, derived.kernel,
                  {s.name: float(s.initial) for s in derivation.draft.states}, _explicit_groups(derivation),
                  tuple(derived.verdict.notes))


def _explicit_groups(derivation: Derivation) -> bool:
    """Whether the user, and not the policy, asked for leave-one-out."""
    baselines = (v.estimator.subtracted for v in derivation.verdicts.values()
                 if v.estimator is not None and v.origin != "policy" and v.influenced)
    return any(b is not None and b.couples for b in baselines)
