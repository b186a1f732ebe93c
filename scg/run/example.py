"""An estimate that was made where a module was exported, to be made again where the module is used.

Exported modules hold this text too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from scg.errors import InternalError

CLOSE = {"float64": 1e-9, "float32": 1e-3}  # machines differ in the last digits of their functions


class Known(NamedTuple):
    """A number or an array that came out, and how large what it is the mean of is."""

    value: np.ndarray
    scale: float


class Example(NamedTuple):
    """What a call was given, and what came out.

    Attributes
    ----------
    values : dict of str to array
    samples : int
        The seed is 0.
    numbers : dict of str to Known
        The objective, each cost and each gradient, as they are called in a result.
    notes : tuple of str
    """

    values: Mapping[str, np.ndarray]
    samples: int
    numbers: Mapping[str, Known]
    notes: tuple[str, ...]


def example_of(values: Mapping[str, np.ndarray], r: Any) -> Example:
    """What is to be kept of an estimate."""
    count = np.sqrt(r.samples * r.rows)
    errors = {"r.cost": r.cost_stderr, **{f'r.grad["{name}"]': error for name, error in r.stderr.items()}}
    numbers = {label: Known(value, _scale(value, count * np.asarray(errors.get(label, 0.0))))
               for label, value in _numbers_of(r)}
    return Example(dict(values), r.samples, numbers, r.notes)


def _numbers_of(r: Any) -> Iterator[tuple[str, np.ndarray]]:
    yield "r.cost", np.asarray(r.cost)
    yield from ((f'r.costs["{name}"]', np.asarray(value)) for name, value in r.costs.items())
    yield from ((f'r.grad["{name}"]', value) for name, value in r.grad.items())


def _scale(value: np.ndarray, deviation: np.ndarray) -> float:
    """How large the summands of a mean are: what rounding changes in it is small beside that."""
    return float(max(np.max(np.abs(value), initial=0.0), np.max(np.nan_to_num(deviation), initial=0.0)))


def compare(graph: str, r: Any, example: Example, dtype: str) -> None:
    """Find a result to be that of the example, but for rounding.

    Raises
    ------
    InternalError
        If it is not.
    """
    found = dict(_numbers_of(r))
    wrong = [label for label, known in example.numbers.items()
             if label not in found or not _is_close(found[label], known, CLOSE[dtype])]
    if wrong or r.notes != example.notes:
        raise InternalError(f'graph "{graph}"', "The self-check was run.",
                            f"What was estimated at export does not come out again: {', '.join(wrong or ['r.notes'])}.",
                            "Do not use this module on this machine; export it here.")


def _is_close(value: np.ndarray, known: Known, tolerance: float) -> bool:
    return value.shape == known.value.shape and np.allclose(
        value, known.value, rtol=tolerance, atol=tolerance * known.scale or 1e-12)
