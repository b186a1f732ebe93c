"""A draw of another family, mapped: shifted, stretched, or taken through any other strictly monotone function.

The map is written as a formula of the draw. It is read once, when the site is declared, as a chain of ops each of which
can be undone (`scg.ir.op.Inverse`); what is combined with the draw on the way is a parameter of the family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scg.analysis.bounds import Ranges
from scg.distributions.distribution import Distribution
from scg.distributions.maps import Line, Step, constraint_of, end_of, map_of, range_of, refused, spelled, steps_of
from scg.distributions.triple import Triple
from scg.functions import exp
from scg.ir.constraints import Support
from scg.ir.interval import Interval
from scg.ir.node import Node, as_real, constant
from scg.ir.printer import expression, short
from scg.ir.spelling import sign_of
from scg.ops.arithmetic import neg_op
from scg.ops.control import lying
from scg.ops.leaves import feed
from scg.ops.structure import broadcast_to


class Transformed(Distribution):
    """What a strictly monotone map makes of a draw: y = T(x), of density p(T⁻¹(y)) / |T′(T⁻¹(y))|.

    So a threshold is smoothed by what is random beside it: of a cost that jumps where a demand passes a level S, the
    derivative in S is that of the density of the demand shifted by S.

    Parameters
    ----------
    family : Distribution
        Of real numbers, at its parameters.
    map : callable
        ``map(x) -> node``: a formula in which x stands once; of + − · / with other nodes, exp, log, sqrt, powers,
        sigmoid, softplus and tanh. Other nodes of the graph are welcome in it: they are parameters. Those that multiply
        x, and exponents, must be positive; for a decreasing map write −(a x).

    Raises
    ------
    DeclarationError
        If the map cannot be inverted: x stands in several places, an op has no inverse, or is none where x can be.
    """

    instead = ("Use Pathwise() where costs are smooth in the draw; or draw the family at a site of its own, and let "
               "the mapped value be a node of it.")

    def __init__(self, family: Distribution, map: Callable[[Node], Any]):
        if not isinstance(family, Distribution) or not callable(map):
            raise refused(f"{family!r} and {map!r}", "It takes a distribution and a function of its draw.",
                           "Write it, for example, as scg.Transformed(scg.Exponential(rate), lambda x: 2.0 + x).")
        if family.support.integral or family.event_shape:
            raise refused(f"{type(family).__name__}, whose values are {family.values_text}",
                           "The density of a mapped draw is that of a real number.",
                           "Draw it at a site, and let the mapped value be a node that is made of it.")
        x = feed("x", family.batch_shape, ())
        steps, found = steps_of(x, as_real(constant(map(x))), tuple(family.params))
        self.params = family.params | found
        self.hold(map_of(family, steps, found))
        self._check_parameters()

    def hold(self, data: Any) -> None:
        self.data = data
        self.parameters = {name: data.family._at({}).parameters[name] for name in data.names} | {
            step.parameter: constraint_of(step) for step in data.steps if step.parameter}
        base = data.family.support
        self.support = Support(f"{base.text}, mapped", moving=data.moving, low=data.ends[0], high=data.ends[1],
                               open=base.open)

    def as_called(self) -> tuple[str, tuple[Node, ...]]:
        call, args = self.base.as_called()
        names = [step.parameter for step in self.data.steps if step.parameter]
        places = {name: f"{{{len(args) + i}}}" for i, name in enumerate(names)}
        signs = {name: sign_of(expression(self.params[name])) for name in names}
        return (f"Transformed({call}, lambda x: {spelled(self.data.steps, places, signs)})",
                (*args, *(self.params[name] for name in names)))

    def called(self, name: str) -> str:
        """One that stands in the map by what it is there, for its name is no word of the user's."""
        return name if name in self.data.names else f"the {name.split('_')[0]} {short(self.params[name])} in its map"

    @property
    def values_text(self) -> str:
        return self.support.text

    @property
    def base(self) -> Distribution:
        """The distribution of the draw that is mapped."""
        return self.data.family._at({name: self.params[name] for name in self.data.names})

    # --- the map ----------------------------------------------------------------------------------------------------
    def forward(self, x: Any, steps: Sequence[Step] | None = None) -> Node:
        """T(x)."""
        y = constant(x)
        for step in self.data.steps if steps is None else steps:
            y = step(y, self.params)
        return y

    def _levels(self, y: Node, steps: Sequence[Step] | None = None, own: bool = False) -> list[Node]:
        """The value, what the last step made it of, and so on down to the draw that is mapped.

        What an own draw was made of lies where the steps take the draws of the family.
        """
        found, images = [y], self._images() if own else []
        for step in reversed(self.data.steps if steps is None else steps):
            level = step.op.inverse.undo(step.position, found[-1], *step.others(self.params))
            found.append(lying(level, *images[len(found)]) if own else level)
        return found

    def _images(self) -> list[tuple[Interval, ...]]:
        """Where draws lie, what the last step makes them of, and so on; and what each comes close to."""
        here = Interval(*self.base.range({name: Ranges()(node) for name, node in self.base.params.items()}))
        found: list[tuple[Interval, ...]] = [(here, here.with_ends())]
        for step in self.data.steps:
            found.append(tuple(Interval(*range_of(where, (step,), self.params, {})) for where in found[-1]))
        return found[::-1]

    def _log_slope(self, levels: Sequence[Node]) -> Node:
        """log |T′|."""
        found = constant(0.0)
        for step, y, x in zip(reversed(self.data.steps), levels, levels[1:]):
            found = found + step.op.inverse.log_slope(step.position, x, y, *step.others(self.params))
        return found

    # --- the support ------------------------------------------------------------------------------------------------
    @property
    def lowest(self) -> Node:
        """The lower end of the support, where parameters move it."""
        return self._end(self.data.rising)

    @property
    def highest(self) -> Node:
        """The upper end, likewise."""
        return self._end(not self.data.rising)

    def _end(self, low: bool) -> Node:
        base = self.base
        found = base.end(base.support.low if low else base.support.high)
        return end_of((-np.inf if low else np.inf) if found is None else found, self.data.steps, self.params)

    def range(self, parameters: Mapping[str, Interval]) -> Interval:
        if not isinstance(self.data.ends[0], str) and not isinstance(self.data.ends[1], str):
            return super().range(parameters)
        return range_of(self.base.range(parameters), self.data.steps, self.params, parameters)

    def conditions(self) -> list[tuple[str, Node]]:
        return self.base.conditions()

    @property
    def edges(self) -> dict[str, tuple[float, ...]]:  # type: ignore[override]
        """Those of the family that is mapped."""
        return self.data.family.edges

    @property
    def tail(self) -> float:  # type: ignore[override]
        """How fast the density falls, as far as the steps tell."""
        found = self.base.tail
        for step in self.data.steps:
            found = step.op.inverse.tail(step.position, found, *step.numbers)
        return found

    @property
    def zero_stays(self) -> bool:  # type: ignore[override]
        """Where the ends stay where they are."""
        return self._straight and not self.data.moving and self.base.zero_stays

    def touches(self) -> bool:
        return self._straight and self.base.touches()

    @property
    def _straight(self) -> bool:
        return all(step.straight for step in self.data.steps)

    # --- capabilities -----------------------------------------------------------------------------------------------
    def able(self, capability: str) -> bool:
        if capability in ("mean", "variance", "entropy"):
            return self._straight and self.data.family.can(capability)
        own = capability in ("of_draw", "moved_from")  # whatever the family has
        return super().able(capability) and (own or self.data.family.can(capability))

    def log_prob(self, value) -> Node:
        base, own = self.base, self.drew(value)
        base.own, base.within = own, True  # what lies between the mapped ends lay between those before
        levels = self._levels(value, own=own)
        return base.log_prob(levels[-1]) - self._log_slope(levels)

    def sample(self, noise: Node) -> Node:
        return self.forward(self.base.sample(noise))

    def reparameterise(self, noise: Node) -> Node:
        """T of the path of the draw."""
        return self.forward(self.base.reparameterise(noise))

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """The draw that is mapped, what the steps made of it, and what its noise gives of it."""
        base, levels = self.base, self._levels(x)
        drawn = base.reparameterise(noise) if base.able("reparameterise") else base.sample(noise)
        found = dict(base.of_draw(levels[-1], noise))
        for step, level in zip((None, *self.data.steps), reversed(levels[1:])):
            drawn = drawn if step is None else step(drawn, self.params)
            found[level] = drawn
        return found

    @property
    def mean(self) -> Node:
        return broadcast_to(self.forward(self.base.mean), self.batch_shape)

    @property
    def variance(self) -> Node:
        """That of the draw, by the square of the slope."""
        return broadcast_to(self.base.variance * exp(2.0 * self._log_slope(self._levels(self.mean))), self.batch_shape)

    def entropy(self) -> Node:
        """That of the draw, and log |T′|."""
        return self.base.entropy() + self._log_slope(self._levels(self.mean))

    def quadrature(self, order: int, **numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The family's points, mapped."""
        return self._mapped("quadrature", order, numbers)  # type: ignore[return-value]

    def fine_quadrature(self, count: int, **numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The family's points, mapped."""
        return self._mapped("fine_quadrature", count, numbers)

    def _mapped(self, kind: str, count: int, numbers: Mapping[str, np.ndarray]) -> Any:
        found = getattr(self.base, kind)(count, **{name: numbers[name] for name in self.data.names})
        if found is None:
            return None
        y, weights = found
        for step in self.data.steps:
            y = step.value(y, {name: array[:, None] for name, array in numbers.items() if name == step.parameter})
        return y, weights

    def moved_from(self) -> tuple[Distribution, Callable[[Node], Node]]:
        """The distribution that is mapped, and the map."""
        if not self.base.support.moving:
            return self.base, self.forward
        fixed, move = self.base.moved_from()
        return fixed, lambda x: self.forward(move(x))

    # --- weak derivatives -------------------------------------------------------------------------------------------
    def weak_derivative(self) -> list[Triple]:
        """Those of the family, with both values mapped; where the map begins with a stretch and a shift, those of the
        family that has them already, if there is one."""
        inner, shift, steps = self._inner()

        def out(x: Any) -> Node:
            return self.forward(x if shift is None else x + shift, steps)

        def back(y: Node) -> Node:
            x = self._levels(y, steps)[-1]
            return x if shift is None else x - shift

        def mapped(triple: Triple) -> Triple:
            return Triple(triple.eta, triple.coefficient, plus=lambda x, noise: out(triple.plus(back(x), noise)),
                          minus=lambda x, noise: out(triple.minus(back(x), noise)))

        own = None if shift is None else inner.shift_derivative(shift)
        return [mapped(triple) for triple in (*inner.weak_derivative(), *(() if own is None else (own,)))]

    def told_apart(self) -> Node | None:
        """Whether rounding leaves apart what the map makes of numbers a sixteenth of a standard deviation apart."""
        inner, shift, steps = self._inner()
        found = inner.told_apart()
        if not self.data.steps or not inner.able("mean") or not inner.able("variance"):
            return found
        centre = inner.mean if shift is None else inner.mean + shift
        apart = self.forward(centre + 0.0625 * inner.variance**0.5, steps) != self.forward(centre, steps)
        return apart if found is None else found & apart

    def _inner(self) -> tuple[Distribution, Node | None, tuple[Step, ...]]:
        """A family that has the stretch and the shift that the map begins with, a shift that it has not, and the rest.

        The family's draws are level with what goes into the rest, less that shift.
        """
        base, steps = self.base, self.data.steps
        line, count = Line(1.0, constant(1.0), None), 0
        while count < len(steps) and (longer := line.after(steps[count], self.params)) is not None:
            line, count = longer, count + 1
        if not count:
            return base, None, steps
        sign, factor, shift = line
        rest = steps[count:] if sign > 0.0 else (Step(neg_op, 0, None, ""), *steps[count:])
        whole = base.affine(factor, shift)
        if whole is not None:
            return self.data.family._at(whole), None, rest
        part = base.affine(factor, None)
        return (base, None, steps) if part is None else (self.data.family._at(part), shift, rest)
