"""REBAR: the score function, with the costs of relaxed samples as control variate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from scg.analysis.reach import sum_of
from scg.analysis.stops import looked_through
from scg.differentiate.reverse_mode import gradients
from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator, check_temperature
from scg.functions import exp, stop_gradient
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute
from scg.ops.leaves import derived
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name, rewritten
from scg.surrogate.site import Site

FREE = Name("z(@)", r"z_{@[]}")
GIVEN = Name("z̃(@)", r"\tilde{z}_{@[]}")
ETA = Name("eta(@)", r"\eta_{@}", "the weight of the control variate, which is learned")
TEMPERATURE = Name("temperature(@)", r"\lambda_{@}", "the temperature of the relaxation, which is learned")


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
            check_temperature("REBAR", self.temperature)
        if self.eta is None or isinstance(self.eta, Node):
            return
        if isinstance(self.eta, bool) or not (isinstance(self.eta, Real) and math.isfinite(self.eta)):
            raise EstimatorError(str(here() or ""), f"REBAR(eta={brief(self.eta)}) was asked for.",
                                 "It multiplies the control variate.", "Use a finite number, or a node of your params.")

    def objection(self, site: Site) -> Problem | None:
        missing = super().objection(site)
        if missing is None and site.steps and (self.eta is None or self.temperature is None):
            return Problem(site.where, self.asked(site), "Inside a scan eta and temperature are not learned.",
                           f"Give eta= and temperature=. {self.advice(site)}".strip())
        return missing

    def rewrite(self, site: Site) -> Draft:
        eta, heat = self._learned(site)
        q, given, below, free, above = _relaxed(site, heat)
        term = (site.score * stop_gradient(site.cost - eta * q)).sum() + (
            free * stop_gradient(eta * above) - given * stop_gradient(eta * below)).sum()
        stopped = {heat: stop_gradient(heat)}
        site.marks = rewritten(site.marks, stopped)
        draft = site.draft.with_term(site.name, substitute([term], stopped)[0])
        if site.steps:
            return draft
        return draft.with_objective(f"{site.name} variance", _squared(term, site), "Give REBAR a temperature=.")

    def _learned(self, site: Site) -> tuple[Node, Node]:
        """η and the temperature."""
        eta, heat = constant(1.0 if self.eta is None else self.eta), self.temperature
        if self.eta is None:
            eta = site.called(ETA, site.param("eta", init=1.0), brought=True)
        if heat is None:
            heat = site.called(TEMPERATURE, exp(site.param("log temperature", init=math.log(0.5))), brought=True)
        return eta, constant(heat)

    def reason(self, site: Site) -> str:
        return "; ".join(filter(None, ["a relaxed sample given the sample is distributed as one that is not",
                                       site.assumption]))


def _relaxed(site: Site, heat: Node) -> tuple[Node, Node, Node, Node, Node]:
    """Q(z̃), z̃ and Q′(z̃), relaxed; z and Q′(z)."""
    at = "at its relaxed value"
    q, given, below = site.linearised(
        lambda dist, x, noise: dist.relaxed(dist.latent_given(x, derived(noise, "given")), heat), at, GIVEN)
    _, free, above = site.linearised(lambda dist, x, noise: dist.relaxed(dist.latent(x, noise), heat), at, FREE)
    return q, given, below, free, above


def _squared(term: Node, site: Site) -> Node:
    """The square of a replicate's gradient in the site's parameters, as a function of values: nothing is stopped."""
    parameters = [site.parameter(name) for name in site.dist.params if site.flows_into(name)]
    found = gradients({term: constant(1.0)}, parameters, ("row", "lane"))
    return sum_of(g * g for g in looked_through([g for g in found if g is not None]))
