"""Is a compiled estimator unbiased? On finite graphs by the exact law, held to the kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from scg.errors import CallError, DeclarationError, ExactError, NonFiniteError
from scg.expectation.exact import integrate
from scg.expectation.fed_kernel import FedKernel, mean_over_rows
from scg.expectation.law import by_fed_kernel, initial_states
from scg.function import EstimatorFunction
from scg.ir.location import here
from scg.ir.signed import signed
from scg.run.values import bind
from scg.surrogate.derivation import Derivation

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
REPLICATES = 64
SEEDS = (0, 1, 2)
BY = 1e-6  # by what part of themselves values are moved off a tie
BESIDE = " beside these values, at which floats round to one side of a tie of decimals"


@dataclass(frozen=True)
class Verification:
    """The outcome of `verify`.

    Attributes
    ----------
    passed : bool or None
        Whether the estimator's expected gradient is the gradient of the expected cost; None if that could not be told.
    method : str
        What was held to what, or why nothing was.
    max_error : float
        Largest absolute difference of any gradient element; NaN if there was no test.
    false_alarm : float
        Probability that an unbiased estimator would fail: 0 for the exact law.
    certificate : Certificate or None
        With ``symbolic=True``, the proof as formulas in the parameters; `str` of the verification shows it.
    """

    passed: bool | None
    method: str
    max_error: float
    false_alarm: float
    certificate: Any = None

    def __str__(self) -> str:
        if self.certificate is None:
            return repr(self)
        return f"{self.certificate}\n{_OUTCOMES[self.passed]}: {self.method}"


_OUTCOMES = {True: "passed", False: "failed", None: "not tested"}


@signed
def verify(f, values: Mapping[str, Any], *, symbolic: bool = False) -> Verification:
    """Hold a compiled estimator to the exact gradient; it does not raise for what it finds.

    The kernel is compiled once more, by the same derivation, passes and planner, with its uniforms read from arrays. It
    is fed with every path of the graph's noise, as lanes weighted by their probabilities, and the sum of its results is
    compared with the derivative of the enumerated expectation. Then `f` itself is called under a few seeds, and must
    return what the fed kernel returns when it is fed with the uniforms that these seeds stand for.

    Parameters
    ----------
    f : EstimatorFunction
    values : dict of str to array_like
        As for a call.
    symbolic : bool
        Also prove it as an identity in the parameters, on small finite graphs: the surrogate's derivative, as a
        formula, is summed over the steps of all draws, and compared with the derivative of the expected cost, whose
        sum is over the sites' values. At `values` the first must be what the kernel's noise gives; where floats round
        across a tie of decimals there, as 0.1 + 0.2 > 0.3, that is held next to them.

    Raises
    ------
    DeclarationError
        If `f` is something else.
    ExactError
        If ``symbolic=True`` and the graph is not finite, or too large for formulas.

    Returns
    -------
    Verification
        `passed` is None on a graph that is not finite, and `method` says why: there is no statistical test.
    """
    if not isinstance(f, EstimatorFunction):
        raise DeclarationError(str(here() or ""), f"{f!r} was to be verified.", "That is no compiled estimator.",
                               "Give it what scg.compile returned.")
    derivation = f._whole("verify")
    if not symbolic:
        return _by_numbers(f, derivation, values)[0]
    from scg.export.proofs.certificate import certify

    certificate = certify(derivation, bind(derivation.leaves, values).by_row())
    numbers, expected = _by_numbers(f, derivation, values)
    if expected is None:
        return replace(numbers, certificate=certificate)
    off = certificate.off(expected, bind(derivation.leaves, values).by_row(), {})
    agrees = off <= TOLERANCE[f._options["dtype"]]
    beside = not agrees and _agrees_beside(f, derivation, certificate, values)
    agrees = agrees or beside
    method = (f"{numbers.method}; the formulas {'give' if agrees else 'do not give'} its expectation"
              f"{BESIDE if beside else ''}")
    return replace(numbers, passed=bool(numbers.passed and agrees and certificate.proved is not False), method=method,
                   max_error=numbers.max_error if agrees else max(numbers.max_error, off), certificate=certificate)


def _agrees_beside(f: EstimatorFunction, derivation: Derivation, certificate: Any, values: Mapping[str, Any]) -> bool:
    """Whether formulas and kernel agree next to values at which they do not: a tie of decimals is none of floats."""
    moved = _moved(values)
    if moved is None:
        return False
    try:
        fed = FedKernel(derivation, f._options["backend"], f._options["dtype"])
        expected = by_fed_kernel(fed, derivation, moved).grad
        off = certificate.off(expected, bind(derivation.leaves, moved).by_row(), {})
    except (ExactError, NonFiniteError, CallError):
        return False  # it was to be shown, and is not
    return off <= TOLERANCE[f._options["dtype"]]


def _moved(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Values with those that are no decimal fractions in binary moved a little, each by a part of its own."""
    rng, any_moved, found = np.random.default_rng(11), False, {}
    for name, value in values.items():
        array = np.asarray(value, dtype=float)
        rounded = np.reshape([math.isfinite(x) and Fraction(x) != Fraction(repr(float(x))) for x in array.flat],
                             array.shape).astype(bool)
        found[name] = array * (1.0 + np.where(rounded, BY * rng.uniform(0.3, 1.0, array.shape), 0.0))
        any_moved |= bool(rounded.any())
    return found if any_moved else None


def _by_numbers(f: EstimatorFunction, derivation: Derivation,
                values: Mapping[str, Any]) -> tuple[Verification, Mapping[str, np.ndarray] | None]:
    """The outcome at one point, and the estimator's expectation there, if it is known."""
    backend, dtype = f._options["backend"], f._options["dtype"]
    try:
        brought = {p.name for p in derivation.draft.params}
        of_graph = {n: v for n, v in values.items() if n not in brought} if brought else values
        fed = FedKernel(derivation, backend, dtype)
        found = by_fed_kernel(fed, derivation, values)  # it is refused sooner where there is too much of the noise
        exact = integrate(derivation.graph, of_graph)
    except (ExactError, NonFiniteError) as why:
        return Verification(None, f"no exact law: {why}", float("nan"), float("nan")), None
    largest, beyond = _differences([found.grad[n] for n in fed.names], [exact.grad[n] for n in fed.names],
                                   [exact.grad_size[n] + found.grad_size[n] for n in fed.names], dtype)
    unbiased = not beyond
    try:
        sizes = [exact.cost_size, *(exact.grad_size[n] for n in fed.names)]
        off, told = _disagreement(f, fed, derivation, values, sizes)
    except CallError as why:
        return Verification(None, f"the call is refused: {why}", float("nan"), float("nan")), None
    summed = (", beside costs summed out by elimination" if exact.eliminated else
              f", beside the stationary law of {exact.states:,} states" if exact.states else "")
    method = f"exact law: the {backend} kernel fed with all its noise, in {found.lanes} pieces{summed}; {told}"
    error = largest if off is None else max(largest, off)
    return Verification(unbiased and off is None, method, error, 0.0), found.grad


def _differences(a: Sequence[Any], b: Sequence[Any], sizes: Sequence[Any], dtype: str) -> tuple[float, bool]:
    """The largest difference, infinite where a number is not finite; and whether one is beyond rounding.

    What rounding may be is a matter of each element's own summands, of which `sizes` holds sums of absolute values.
    """
    largest, beyond = 0.0, False
    for x, y, size in zip(a, b, sizes):
        off = np.abs(np.asarray(x) - np.asarray(y))
        off = np.where(np.isfinite(off), off, np.inf)
        largest = max(largest, float(np.max(off, initial=0.0)))
        # an element whose summands cancel is left with the rounding of what the array's others are made of
        rounding = 4.0 * np.finfo(dtype).eps * np.max(size, initial=0.0)
        beyond = beyond or bool(np.any(off > np.maximum(TOLERANCE[dtype] * np.asarray(size), rounding)))
    return largest, beyond


def _disagreement(f: EstimatorFunction, fed: FedKernel, derivation: Derivation,
                  values: Mapping[str, Any], sizes: Sequence[Any]) -> tuple[float | None, str]:
    """By how much calls of `f` differ from the fed kernel on the same noise (None if they do not), in words too."""
    samples = f._layout.group or REPLICATES
    rows = list(bind(derivation.leaves, values).by_row())
    worst: list[float] = []
    for seed in SEEDS:
        means = mean_over_rows(fed, derivation, rows, initial_states(derivation), samples, seed)
        if means is None:
            return None, "calls were not compared, as worlds that draw noise of their own share it there"
        r = f(values, samples=samples, rng=seed)
        difference, beyond = _differences([r.cost, *(r.grad[n] for n in fed.names)], means[0],
                                          [size + m for size, m in zip(sizes, means[1])], fed.layout.dtype)
        worst.append(difference if beyond else 0.0)
    # in one of them a uniform may lie within rounding of a probability, and fall on its other side
    if sum(w > 0.0 for w in worst) > 1:
        return max(worst), "calls do not agree with it on the same noise"
    return None, f"calls agree with it on {len(SEEDS) * samples * len(rows)} replicates"
