"""The contract of an estimator, and the registry.

An estimator is a rewrite of the surrogate for one site, for several sites together, or for the whole graph:
``rewrite(site) -> draft``. What it needs of the site's family it names in `requires`; whether it can be used at a site
it says in `objection`. It knows no family by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scg.errors import ConditionError, EstimatorError, Problem, brief
from scg.ir.location import here
from scg.ir.registry import Registry
from scg.ir.signed import Checked
from scg.surrogate.credited_site import Weighing

if TYPE_CHECKING:
    from scg.baselines.baseline import Baseline
    from scg.distributions.distribution import Distribution
    from scg.surrogate.draft import Draft
    from scg.surrogate.site import Site

ESTIMATORS: Registry[type[Estimator]] = Registry("estimator")

_PHRASES = {
    "log_prob": "has no log-probability",
    "reparameterise": "has no differentiable path from its parameters to its samples",
    "weak_derivative": "has no weak derivative",
    "support_values": "has no finite support",
    "mean": "has no mean", "latent": "has no relaxation", "natural": "has no relaxation",
}


def alternatives(advice: str, *others: str) -> str:
    """Advice, and what else would work, in words that follow "or"; what is empty is left out."""
    first, *more = [text.removesuffix(".") for text in (advice, *others) if text]
    return f"{'; or '.join([first[0].upper() + first[1:], *more])}."


def check_temperature(estimator: str, given: Any) -> None:
    """Refuse a temperature that is no number above 0.

    Raises
    ------
    EstimatorError
    """
    if isinstance(given, bool) or not (isinstance(given, Real) and 0.0 < float(given) < math.inf):
        raise EstimatorError(str(here() or ""), f"{estimator}(temperature={brief(given)}) was asked for.",
                             "It divides the noise.", "Use a number above 0.")


@dataclass(frozen=True)
class Estimator(Checked):
    """A rule for the gradient through sites. Subclasses are registered by being defined.

    Class attributes
    ----------------
    scope : str
        What `rewrite` is given: ``"site"``, one `Site`; ``"together"``, the `Together` of the sites that a strategy
        names by a tuple (of one site otherwise); ``"graph"``, the `Whole` graph.
    unbiased : bool
        Whether the rewritten surrogate's gradient has the right expectation; proved by the laws.
    requires : tuple of str
        Capabilities of the family.
    passes_gradient : bool
        Whether derivatives flow through the site to its parameters.
    differentiates : bool
        Whether it takes the derivative of costs in the site's value, which jumps miss; what passes the gradient does.
    scores : bool
        Whether it multiplies the score ∂ log p; what requires `log_prob` does, unless it says otherwise. Then supports
        that move are refused, and a call is where a value of probability 0 would hide a part of the gradient.
    relaxes : bool
        Whether it needs a relaxation of draws, which a value of probability 0 does not have; told by `requires`.
    always : bool
        Whether the rewrite matters even where no derivative flows into the site's parameters.
    replays : bool
        Whether it must see the draft in which later sites are replaced by their paths, as one does that asks for costs
        in other worlds than the one that is drawn; so does whatever rewrites and does not say.
    sums_out : bool
        Whether all that it does is to have its site summed out: then it waits for others that do, so that they are
        summed out together.
    joint : bool
        Whether a world has other values of all draws at once, and each signal is weighed by what its own draws became:
        then draws are told apart only along dimensions of which every element of the costs has one index.
    subtracts : bool
        Whether it has a field `baseline`, a `Baseline` or None, that it subtracts from what weighs its draws.
    stationary : bool
        Whether it is for the stationary mean of a chain: `rewrite` is given the `Stationary` chain.
    cuts_off : bool
        Whether a rule for chains leaves out what draws do to costs more than some steps later.
    advised : bool
        Whether errors name it where another cannot be used; not if it passes nowhere else than another does.
    evaluations : str
        Evaluations of the downstream graph per replicate, in words.
    reference : str
        Where the estimator comes from.

    Parameters
    ----------
    credit : str
        What has a signal of its own. ``"steps"``: the draws of a step of a loop are weighed together, by the costs of
        that step and of later ones, and those of a site outside of loops by all costs that it influences.
        ``"aligned"``: besides, along each dimension in which all of these costs are sums of parts that are made of
        few draws each, draws are weighed by the parts that are made of them. ``"elements"``: along each in which
        some cost is.
    """

    scope: ClassVar[str] = "site"
    unbiased: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ()
    passes_gradient: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    scores: ClassVar[bool] = False
    relaxes: ClassVar[bool] = False
    always: ClassVar[bool] = False
    replays: ClassVar[bool] = True
    sums_out: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    subtracts: ClassVar[bool] = False
    stationary: ClassVar[bool] = False
    cuts_off: ClassVar[bool] = False
    advised: ClassVar[bool] = True
    evaluations: ClassVar[str] = "1"
    reference: ClassVar[str] = ""
    credit: str = field(default="aligned", kw_only=True, repr=False)

    def __new__(cls, *args, **kwargs):
        made = super().__new__(cls, *args, **kwargs)
        cls._check_credit(kwargs.get("credit", "aligned"))
        return made

    @classmethod
    def _check_credit(cls, credit: Any) -> None:
        if not isinstance(credit, str) or credit not in ("steps", "aligned", "elements"):
            raise EstimatorError(str(here() or ""), f"{cls.__name__}(credit={brief(credit)}) was asked for.",
                                 "It says what has a signal of its own.", 'Use "steps", "aligned" or "elements".')
        if credit == "elements" and (cls.passes_gradient or cls.always or cls.scope == "graph"):
            raise EstimatorError(str(here() or ""), f'{cls.__name__}(credit="elements") was asked for.',
                                 "It weighs no draws with costs, so there is no credit to be given.",
                                 f"Leave it out: {cls.__name__}().")
        if credit == "elements" and cls.joint:
            raise EstimatorError(str(here() or ""), f'{cls.__name__}(credit="elements") was asked for.',
                                 "It looks at the values of draws that share a signal in one world, and at other such "
                                 "draws in the same: a cost that joins both would be weighed by either's.",
                                 f"Leave it out: {cls.__name__}() tells draws apart where every cost does.")

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Estimator.__repr__  # a dataclass would make its own, without credit=
        if "requires" in cls.__dict__ and "scores" not in cls.__dict__:
            cls.scores = "log_prob" in cls.requires
        cls.relaxes = bool({"latent", "natural"} & {*cls.requires})
        cls.differentiates = cls.differentiates or cls.passes_gradient
        if "rewrite" in cls.__dict__ and "replays" not in cls.__dict__:
            cls.replays = True
        ESTIMATORS.add(cls.__name__, cls)

    @property
    def subtracted(self) -> Baseline | None:
        """The baseline that it subtracts, if it subtracts any."""
        return self.baseline if self.subtracts else None  # type: ignore[attr-defined]

    def with_baseline(self, baseline: Baseline) -> Estimator:
        """The same with that baseline; itself, if it subtracts none."""
        return replace(self, baseline=baseline) if self.subtracts else self  # type: ignore[call-arg]

    def weighing(self, site: Site) -> Weighing:
        """Along which dimensions of the site's draws its terms have signals of their own."""
        if self.passes_gradient or self.always:
            return Weighing()
        return Weighing("alone" if self.joint and self.credit == "aligned" else self.credit)

    def on_chain(self) -> Estimator | None:
        """The rule for the stationary mean of a chain that it stands for, if there is one."""
        return self if self.scope == "graph" else None

    def values_of(self, site: Site) -> np.ndarray | None:
        """Of an estimator that `sums_out`, the values of a draw that it sums over; None of others, or if too many."""
        return None

    def rewrite(self, site: Any) -> Draft:
        """The draft with this estimator's terms and replacements, from the site, the sites or the graph (`scope`)."""
        raise NotImplementedError

    def objection(self, site: Any) -> Problem | None:
        """Why it cannot be used at the site, or None; subclasses add their own reasons to the missing capabilities."""
        for capability in self.requires:
            if not site.family.can(capability):
                lacks = _PHRASES.get(capability, f"has no {capability.replace('_', '-')}")
                advice = self.remedy(site, f"give the family {capability}")
                return Problem(site.where, self.asked(site), f"{site.family.__name__} {lacks}.",
                               alternatives(advice, site.family.smoother if self.relaxes else ""))
        if self.relaxes and site.masks_as_written:
            return Problem(site.where, self.asked(site), "Its distribution may exclude a value (by a logit of −∞, or "
                           "a probability that stays 0), which has no relaxation.", self.instead_of_masks(site))
        if site.worlds and not self.passes_gradient and (site.differentiated or self.always):
            both = ("It and another site of its loop, which is summed out, influence each other through a carry. Such "
                    "sites are summed out together, step by step, ")
            if not self.always:
                return Problem(site.where, self.asked(site), f"{both}and neither can be drawn.",
                               "Give both Enumerate(), or LocalExpectation(), which sums out one draw at a time.")
            return Problem(
                site.where, self.asked(site),
                f"{both}where what a step hands on is made of its own draws alone, which have up to 1,024 "
                "values, or takes few values, all known before a call.",
                "Use LocalExpectation() there, which sums out one step at a time; or write the steps as a Python loop, "
                "in which Enumerate() sums over all sites.")
        return self._moving_support(site) if self.scores else None

    def instead_of_masks(self, site: Site) -> str:
        """What would work where values are excluded, which have no relaxation."""
        return alternatives(
            self.advice(site, lambda cls: not cls.relaxes), "give what is excluded a tiny probability, by a logit of "
            "-30.0 in the place of -np.inf, or a weight of 1e-12")

    def asked(self, site: Site) -> str:
        """What was asked for, as an objection says it."""
        return f"{self} {'is what the policy chooses' if site.origin == 'policy' else 'was asked for'}."

    def _moving_support(self, site: Site) -> Problem | None:
        """The objection of estimators that differentiate log p only, and so miss what a moving bound contributes."""
        moving = [name for name in site.family.support.moving if name in site.dist.params and site.flows_into(name)]
        if not moving:
            return None
        return Problem(
            site.where, self.asked(site),
            f"The support of {site.family.__name__} is {site.family.support.text}, and "
            f"{' and '.join(map(site.dist.called, moving))} "
            f"{'depends' if len(moving) == 1 else 'depend'} on what is differentiated: the score function misses the "
            "part of the gradient that comes from the moving bound.", self.remedy(site))

    def advice(self, site: Site, fit: Callable[[type[Estimator]], bool] = lambda cls: True) -> str:
        """Which estimators pass at the site instead, of those that are `fit`."""
        if site.tried:
            return ""  # of an objection to one of the others nobody reads what it advises
        site.tried = True
        try:
            return self._others(site, lambda cls: fit(cls) and cls._passes(site))
        finally:
            site.tried = False

    def remedy(self, site: Site, otherwise: str = "leave out of wrt= what moves it") -> str:
        """`advice`, or what else would work where no estimator passes."""
        return self.advice(site) or site.family.instead or f"No estimator fits it as it is: {otherwise}."

    def misses_at_edges(self, site: Site) -> bool:
        """Whether a part of the gradient is missing where a value has probability 0, and will not keep it."""
        return self.scores

    def advice_at_an_edge(self, site: Site) -> str:
        """Which of them give the whole gradient where a value has probability 0."""
        return self._others(site, lambda cls: not cls.scores)

    def _others(self, site: Site, fit: Callable[[type[Estimator]], bool]) -> str:
        others = [text for cls in ESTIMATORS.values()
                  if cls is not type(self) and cls.unbiased and cls.advised and cls.scope != "graph"
                  and (text := cls.offer(site.family)) is not None and fit(cls)]
        return f"Use {' or '.join(filter(None, [', '.join(others[:-1]), *others[-1:]]))}." if others else ""

    @classmethod
    def _passes(cls, site: Site) -> bool:
        """Whether nothing is known against it at the site; what must be given numbers first is not tried."""
        if cls.differentiates and site.obstructed():
            return False
        if cls.offer(site.family) != f"{cls.__name__}()":
            return True
        return cls().objection(site) is None and not (cls.differentiates and cls()._fails(site))

    def _fails(self, site: Site) -> bool:
        """Whether what it differentiates, in a world of its own, cannot be."""
        if self.passes_gradient:
            return False
        try:
            tried = site.afresh()
            tried.weighing = self.weighing(tried)
            self.rewrite(tried)
        except ConditionError:
            return True
        return False

    @classmethod
    def offer(cls, family: type[Distribution]) -> str | None:
        """How the estimator is written for sites of the family, or None if it cannot be used there."""
        return f"{cls.__name__}()" if all(family.can(c) for c in cls.requires) else None

    def verdict(self, site: Any) -> tuple[str, str]:
        """Status and reason: ``("unbiased", why)`` or ``("biased", why)``."""
        return ("unbiased" if self.unbiased else "biased"), self.reason(site)

    def reason(self, site: Any) -> str:
        """Why the estimator is unbiased, or biased, at the site."""
        return self.reference

    def _shown(self) -> list[str]:
        """The arguments that its repr shows: those that differ from what they are by default."""
        given = [f.name for f in fields(self) if f.repr and not _is(getattr(self, f.name), f.default)]
        return given + ["credit"] * (self.credit != "aligned")

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._shown())})"


def _is(value: Any, default: Any) -> bool:
    """Whether an argument is what it is by default; of nodes and arrays, the very same object."""
    plain = isinstance(default, (bool, int, float, str, tuple)) and type(value) is type(default)
    return default is not MISSING and (value is default or (plain and value == default))
