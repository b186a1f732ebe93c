"""REBAR: the score function, with the costs of relaxed samples as control variate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from scg.estimators.estimator import Estimator, check_temperature
from scg.functions import exp, stop_gradient
from scg.ir.node import Node, constant
from scg.ops.leaves import derived
from scg.surrogate.control_variate import check_weight, weight, with_variance
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.replacement import Instead, Value
from scg.surrogate.site import Site

FREE = Name("z(@)", r"z_{@[]}", also="@ relaxed, from the same noise")
GIVEN = Name("z̃(@)", r"\tilde{z}_{@[]}", also="@ relaxed, from other noise that makes the same @")
TEMPERATURE = Name("temperature(@)", r"\lambda_{@}", "the temperature of the relaxation")


class Control(NamedTuple):
    """What stands for the costs, at a relaxed value: that value, the number, and its derivative."""

    at: Node
    costs: Node
    slope: Node


@dataclass(frozen=True, eq=False)
class REBAR(Estimator):
    """+ log p · ⊥(Q̂ − ηQ(z̃)) + z · ⊥(ηQ′(z)) − z̃ · ⊥(ηQ′(z̃)): z is the relaxed sample, z̃ one given the sample.

    Parameters
    ----------
    eta, temperature : float or Node, optional
        Fixed, or nodes of params of yours. By default they are learned: the params "site eta" and "site log
        temperature" minimise the variance of the gradient in the site's own parameters.

    References
    ----------
    Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein 2017.
    """

    eta: Any = None
    temperature: Any = None
    requires = ("log_prob", "latent", "latent_given", "relaxed")
    differentiates = True
    evaluations = "3"
    reference = "Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein 2017"

    def __post_init__(self):
        if not (self.temperature is None or isinstance(self.temperature, Node)):
            check_temperature(type(self).__name__, self.temperature)
        check_weight(type(self).__name__, self.eta)

    def rewrite(self, site: Site) -> Draft:
        heat = self.temperature
        if heat is None:
            heat = site.called(TEMPERATURE, exp(site.param("log temperature", init=math.log(0.5))), brought=True)
        heat = constant(heat)
        given, free = self._controls(site, heat)
        term = (site.score * stop_gradient(site.cost - given.costs)).sum() + (
            free.at * stop_gradient(free.slope) - given.at * stop_gradient(given.slope)).sum()
        return with_variance(site, term, (heat,), f"Give {type(self).__name__} a temperature=.")

    def _controls(self, site: Site, heat: Node) -> tuple[Control, Control]:
        """What is subtracted at z̃, and at z."""
        (q, given, below), (_, free, above) = (site.linearised(value, "at its relaxed value", said, _later(heat))
                                               for value, said in _relaxed(heat))
        eta = weight(site, self.eta)
        return Control(given, eta * q, eta * below), Control(free, constant(0.0), eta * above)

    def _smooth(self, site: Site, heat: Node) -> bool:
        """Whether the costs have derivatives at z̃ and at z."""
        return all(site.is_smooth(value, _later(heat)) for value, _ in _relaxed(heat))

    def reason(self, site: Site) -> str:
        why = "a relaxed draw, its noise drawn anew given the draw, is distributed as one that is relaxed at once"
        return "; ".join(filter(None, [why, site.assumption]))


def _relaxed(heat: Node) -> tuple[tuple[Value, Name], tuple[Value, Name]]:
    """z̃ and z, and what they are called."""
    return ((lambda dist, x, noise: dist.relaxed(latent_given(dist, x, noise), heat), GIVEN),
            (lambda dist, x, noise: dist.relaxed(latent(dist, x, noise), heat), FREE))


def _later(heat: Node) -> Instead:
    """What stands for draws of later sites: they are relaxed too, where they can be."""
    def later(dist: Any, x: Node, noise: Node) -> Node | None:
        known = dist.able("latent") and dist.able("relaxed")
        return dist.relaxed(dist.latent(x, noise), heat) if known else None

    return later


def latent(dist: Any, x: Node, noise: Node) -> Node:
    """What is relaxed of the draw."""
    return dist.latent(x, noise)


def latent_given(dist: Any, x: Node, noise: Node) -> Node:
    """The same, drawn anew given the draw."""
    return dist.latent_given(x, derived(noise, "given"))
