"""Weak, or measure-valued, derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scg.errors import EstimatorError, Problem
from scg.estimators.estimator import Estimator
from scg.estimators.phantoms import Phantoms
from scg.ir.axes import Axis
from scg.ir.check import Check
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant
from scg.ir.printer import name_of, numbers
from scg.ir.traverse import topological
from scg.ops.cancelling import either_op
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_sum, renamed
from scg.ops.reduce import total
from scg.surrogate.draft import Draft
from scg.surrogate.mark import MEAN, Name
from scg.surrogate.site import Site
from scg.surrogate.triples import moved_by_triples

if TYPE_CHECKING:
    from scg.distributions.distribution import Distribution
    from scg.distributions.triple import Triple


_RAISED = dict(zip(["", *"123456789"], ["", *"¹²³⁴⁵⁶⁷⁸⁹"]))


@dataclass(frozen=True)
class WeakDerivative(Estimator):
    """+ Σₖ ηₖ · ⊥(cₖ (Q(w⁺ₖ) − Q(w⁻ₖ))): each draw replaced by two others whose difference is the derivative.

    Parameters
    ----------
    coupled : bool
        Draw w⁺ and w⁻ from one stream. That usually lowers the variance.
    noise : str
        ``"common"``: later sites are replayed under their own noise; ``"fresh"``: under independent streams.

    References
    ----------
    Pflug 1989; Heidergott & Vázquez-Abad 2000; Mohamed et al. 2020, Table 1.
    """

    coupled: bool = True
    noise: str = "common"
    requires = ("weak_derivative",)
    evaluations = "2 per draw and parameter"
    reference = "Pflug 1989; Mohamed et al. 2020"

    def __post_init__(self):
        if not isinstance(self.coupled, bool):
            raise EstimatorError(str(here() or ""), f"WeakDerivative(coupled={self.coupled!r}) was asked for.",
                                 "It says whether both values are drawn from one stream.", "Use True or False.")
        if self.noise not in ("common", "fresh"):
            raise EstimatorError(str(here() or ""), f"WeakDerivative(noise={self.noise!r}) was asked for.",
                                 "Later sites are replayed under one of two kinds of noise.",
                                 'Use "common" or "fresh".')

    def on_chain(self) -> Estimator:
        return Phantoms()

    def objection(self, site: Site) -> Problem | None:
        missing = super().objection(site)
        if missing:
            return missing
        covered = moved_by_triples(site.dist)
        if covered is None:
            return None
        for name in site.dist.params:
            if name not in covered and site.flows_into(name):
                return Problem(site.where, self.asked(site),
                               f"No weak derivative of {site.family.__name__} in {name} is known, and {name} depends "
                               "on what is differentiated.", self.remedy(site))  # fmt: skip
        return None

    def rewrite(self, site: Site) -> Draft:
        if site.dist.told_apart() is not None:
            bad = site.of(lambda dist, x: as_real(~constant(dist.told_apart())))
            site.checks_in_worlds.append(Check(Problem(
                site.where, f"{self} was asked for, and {site.family.__name__} was given {site.given}.",
                "In at least one replicate the values lie so close together that rounding mixes them up, and of the "
                "difference of two nothing is left.", self.remedy(site)), total(bad), drawn=True))
        term = constant(0.0)
        moved = [k for k in range(len(site.dist.weak_derivative()))
                 if site.flows(site.of(lambda dist, x, k=k: _named(site, dist.weak_derivative()[k], "eta")))]
        for place, k in enumerate(moved, start=1):
            number = str(place) if len(moved) > 1 else ""
            above = f"({number})" if number else ""
            plus, minus = (site.each(self._value(site, k, side), self._tag(k, sign), noise=self.noise,
                                     said=Name(f"@{_RAISED.get(number, number)}{raised}", rf"@[]^{{{above}{sign}}}",
                                                said))
                           for side, sign, raised, said in zip(("plus", "minus"), "+-", "⁺⁻",
                                                               site.dist.weak_derivative()[k].said))
            eta = site.of(lambda dist, x, k=k: _named(site, dist.weak_derivative()[k], "eta"))
            triple = site.dist.weak_derivative()[k]
            if _is_mean(site.dist, k):
                site.called(MEAN, eta)
            elif name_of(constant(triple.eta)) is None:
                site.called(Name(f"eta{number}({_which(triple)})", rf"\eta{_above(above)}_{{@[]}}"), eta)
            c = site.of(lambda dist, x, k=k: _named(site, dist.weak_derivative()[k], "coefficient"))
            coefficient = constant(triple.coefficient)
            if coefficient.is_const and not coefficient.ndim:
                site.called(Name(numbers(coefficient.attrs.shown), numbers(coefficient.attrs.shown)), c)
            elif site.steps or not all(n.is_const for n in topological([c]) if not n.args):
                site.called(Name(f"c{number}({_which(triple)})", rf"c{_above(above)}_{{@[]}}"), c)
            product = total(eta * stop_gradient(c * (plus - minus)))
            along = triple.along
            term = term + axis_sum(product, (_worlds(site, along).name,) if along else ())
        return site.draft.with_term(site.name, term)

    def _value(self, site: Site, k: int, side: str):
        return lambda dist, x, noise: _named(site, dist.weak_derivative()[k], side, x, noise)

    def _tag(self, k: int, side: str) -> str:
        # one tag, one stream: the two sides are coupled; in fresh replays the later sites of each side have their own
        return f"weak derivative {k}" if self.coupled and self.noise == "common" else f"weak derivative {k}{side}"

    def reason(self, site: Site) -> str:
        return "the weak derivative of the family is exact, and later sites are replayed with their own distributions"


def _is_mean(dist: Distribution, k: int) -> bool:
    """Whether a triple is by the mean, which may be computed more carefully."""
    eta = constant(dist.weak_derivative()[k].eta)
    plain = eta.args[2] if eta.op is either_op else eta
    return dist.able("mean") and any(dist.mean is n for n in (eta, plain))


def _which(triple: Triple) -> str:
    """Of what a part is, in text: of a triple that stands for many, the one of a value."""
    return "@, <worlds>" if triple.along else "@"


def _above(text: str) -> str:
    return f"^{{{text}}}" if text else ""


def _worlds(site: Site, along: Axis) -> Axis:
    """The worlds of a triple that stands for many: no other site has an axis of that name."""
    return along._replace(name=f"{site.name} {along.name}")


def _named(site: Site, triple: Triple, part: str, *given: Node) -> Node:
    """A part of a triple, along the worlds of the site."""
    found = getattr(triple, part)
    node = constant(found(*given) if given else found)
    return renamed(node, triple.along, _worlds(site, triple.along)) if triple.along else node
