"""Products with the Hessian of the expected cost, and the whole of it where the parameters are few.

In: a compiled function and values. Out: estimates. The kernel for products is compiled when the first one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from scg.analysis.kinks import kink_at
from scg.errors import CallError, DeclarationError, Problem, SCGError, raise_all
from scg.ir.axes import ROW
from scg.ir.location import calling, here
from scg.ir.node import where
from scg.ir.printer import short
from scg.run.by_name import ByName
from scg.run.estimate import Estimate
from scg.second_order import ASKED, SecondOrder, along, score_of, second_order
from scg.surrogate.derivation import Derivation

Estimator = Callable[..., Estimate]
Compiler = Callable[[Derivation, dict[str, Any]], Estimator]
"""What makes a function of a derivation and options."""

MOST_ELEMENTS = 256  # of all that is differentiated, for the whole Hessian: it takes a call for each


class HessianProducts:
    """Estimates of H v: a kernel of its own, for one compiled function.

    Parameters
    ----------
    first : Derivation
        What was derived for that function.
    options : dict
        Its options.
    compiled : callable
        What compiles a derivation.
    """

    def __init__(self, first: Derivation, options: Mapping[str, Any], compiled: Compiler):
        self._first = first
        self._derived, self._function = _compiled(first, {**options, "order": 1}, compiled)

    @property
    def names(self) -> tuple[str, ...]:
        """What F is differentiated with respect to."""
        return tuple(self._derived.directions)

    def __call__(self, values: Mapping[str, Any], direction: Mapping[str, Any], **options) -> Estimate:
        """H v at the values; see `EstimatorFunction.hvp`."""
        name = self._first.graph.name
        if not isinstance(direction, Mapping) or not direction:
            raise CallError(calling(name), f"direction={direction!r} was given.",
                            "It says by name in which direction the gradient is differentiated.",
                            'Give a dict, e.g. {"theta": 1.0}.')
        unknown = [key for key in direction if key not in self._derived.directions]
        if unknown:
            raise CallError(calling(name), f"direction has {', '.join(map(repr, unknown))}.",
                            f"What is differentiated is: {', '.join(self.names)}.", "Name one of these.")
        given = {leaf: self._part(target, direction, values) for target, leaf in self._derived.directions.items()}
        return self._function({**values, **given}, **options)

    def _part(self, target: str, direction: Mapping[str, Any], values: Mapping[str, Any]):
        node = self._first.targets[target]
        rows = tuple(np.shape(values[name])[:1] for name in self._first.graph.rows if name in values)
        shape = (rows[0] if ROW in node.axes and rows else ()) + node.shape
        if target not in direction:
            return np.zeros(shape)
        try:
            found = np.asarray(direction[target], dtype=float)
        except (TypeError, ValueError):
            found = None
        if found is None or found.shape != shape:
            what = "something that is no array of numbers" if found is None else f"shape {found.shape}"
            raise CallError(calling(self._first.graph.name), f'direction["{target}"] has {what}.',
                            f'"{target}" has shape {shape}, and so has each direction in it.',
                            "Give an array of that shape.")
        return found

    def whole(self, values: Mapping[str, Any], **options) -> tuple[dict, dict]:
        """The Hessian and its standard errors, by pairs of names: ``[a][b]`` has the shapes of a and b in a row."""
        shapes = {name: self._first.targets[name].shape for name in self.names}
        found: tuple[dict, dict] = ({}, {})
        for b, shape in shapes.items():
            for index in np.ndindex(*shape):
                unit = np.zeros(shape)
                unit[index] = 1.0
                r = self(values, {b: unit}, **options)
                for numbers, into in zip((r.grad, r.stderr), found):
                    for a in shapes:
                        into.setdefault(a, {}).setdefault(b, np.empty(shapes[a] + shape, numbers[a].dtype))
                        into[a][b][(..., *index)] = numbers[a]
        asked = [ByName({a: ByName(of_a, f'{name}["{a}"]') for a, of_a in numbers.items()}, name)
                 for name, numbers in zip(("r.hessian", "r.hessian_stderr"), found)]
        return asked[0], asked[1]


def _compiled(first: Derivation, options: dict[str, Any], compiler: Compiler) -> tuple[SecondOrder, Estimator]:
    """The products' derivation and kernel; scored where a path that the policy chose has no second derivative."""

    def compiled(paths: bool) -> tuple[SecondOrder, Estimator]:
        found = second_order(first, options["strategy"], options["wrt"], paths)
        return found, compiler(found.derivation, options)

    try:
        return compiled(paths=True)
    except SCGError as why:
        reason = why
    if any(v.origin == "policy" and v.estimator.passes_gradient for v in first.verdicts.values()):
        with suppress(SCGError):  # then the reason is the first one, which is of what was compiled
            return compiled(paths=False)
    raise_all([(type(reason), _said(problem, first)) for problem in reason.problems])
    raise reason


def _said(problem: Problem, first: Derivation) -> Problem:
    """A problem of the second derivation, as one of what the user asked for."""
    paths = [name for name, v in first.verdicts.items() if v.influenced and v.estimator.passes_gradient]
    moved = [name for name in paths if first.verdicts[name].differentiated]
    line = problem.where.rpartition(", ")[0]
    kink = kink_at(line, list(first.graph.costs.values()))
    fix, what, why = problem.fix, problem.what, problem.why
    if kink is not None and first.verdicts and not any(v.differentiated for v in first.verdicts.values()):
        fix = ("Let the parameters move a draw, so that it can be scored: in place of max(p · exp(0.2 · e) - 1, 0) "
               "with e from Normal(0, 1) and a parameter p, draw x from Normal(log(p), 0.2) and take "
               "max(exp(x) - 1, 0).")
    elif moved and first.graph.transition is None:
        fix += f" Or score at {' and '.join(moved)} what has no second derivative along the path: scg.ScoreFunction()."
    for name in first.graph.costs:
        what = what.replace(f'Cost "{along(name)}"', f'The first derivative of cost "{name}"')
    for name in first.verdicts:
        what = what.replace(f'Cost "{score_of(name)}"', f'The score of "{name}", times its costs,')
    if kink is not None:
        what = what.replace("through comparison", f"through the kink of {short(kink)}")
        why = why.replace("It jumps", "Its slope jumps there", 1)
    what = what if what.startswith(ASKED) else f"{ASKED} {what}"
    at = problem.where if kink is None else where(kink)
    return replace(problem, where=at or calling(first.graph.name), what=what, why=why, fix=fix)


class SecondOrderEstimate(Estimate):
    """What a function of order 2 returns: an `Estimate` with the Hessian.

    Attributes
    ----------
    hessian : dict of str to dict of str to array
        ``r.hessian["a"]["b"]`` is ∂²F/∂a∂b, of the shape of a followed by that of b. It is estimated column by column,
        from the same draws: it is symmetric in expectation.
    hessian_stderr : dict of str to dict of str to array
        Its standard errors.
    """

    __slots__ = ("hessian", "hessian_stderr")

    def __init__(self, *parts):
        super().__init__(*parts)
        self.hessian: dict = {}
        self.hessian_stderr: dict = {}


def check_order(order: Any) -> int:
    """Refuse an order that is neither 1 nor 2.

    Raises
    ------
    DeclarationError
    """
    if isinstance(order, bool) or order not in (1, 2):
        raise DeclarationError(str(here() or ""), f"order={order!r} was given.",
                               "A function gives gradients (1), or the Hessian besides (2).", "Give 1 or 2.")
    return int(order)


def check_size(products: HessianProducts) -> HessianProducts:
    """Refuse the whole Hessian of what has many elements, or a value per row.

    Raises
    ------
    DeclarationError
    """
    targets = {name: products._first.targets[name] for name in products.names}
    by_row = [name for name, x in targets.items() if ROW in x.axes]
    size = sum(x.size for x in targets.values())
    if by_row or size > MOST_ELEMENTS:
        why = (f'"{by_row[0]}" has a value per row.' if by_row else
               f"What is differentiated has {size} elements, and each takes a call; {MOST_ELEMENTS} are the most.")
        raise DeclarationError(str(here() or ""), "order=2 was asked for.", why,
                               "Use products with the Hessian, f.hvp(values, direction), or name less in wrt=.")
    return products
