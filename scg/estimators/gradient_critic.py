"""A learned prediction of the gradient from a biased one, as a control variate of the score function."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.ops.control import stop_gradient
from scg.ops.reduce import total
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.site import Site

CRITIC = Name("r(@)", r"r_{@[]}", also="a prediction of the derivative of the expected costs with respect to the "
              "mean of @")
WEIGHT = Name("alpha(@)", r"\alpha_{@[]}", "the weight in <r> of the derivative in @")
OFFSET = Name("beta(@)", r"\beta_{@[]}", "the offset in <r>, for @")
LEVEL = Name("level(@)", r"\ell_{@}", "a constant that is subtracted too")


@dataclass(frozen=True)
class GradientCritic(Estimator):
    """+ log p · ⊥(Q̂ − Q̄ − c − r·(w − w̄)) + μ · ⊥(r), where r = α Q̄′ + β predicts the derivative of the costs in μ.

    Q̄′ is the gradient that the mean field has, with the means w̄ (see `MeanPropagation`): a biased one. It does not
    depend on the draw w, so whatever r is made of it, what the score function loses by r·(w − w̄) is given back by μ·r.
    The params "site weight" α and "site offset" β, one for each element, and "site level" c start as 1, 0 and 0, which
    is `MuProp`, and minimise the square of what is left of the costs. The least is where r is the derivative itself, if
    draws are independent.

    References
    ----------
    Bengio 2013 (arXiv 1305.2982), of a regressor that is fed with a biased gradient; Gu, Levine, Sutskever & Mnih 2016;
    critics for gradients in Weber, Heess, Buesing & Silver 2019.
    """

    requires = ("log_prob", "mean")
    differentiates = True
    advised = False  # it passes nowhere else than `MuProp` does
    evaluations = "1, and 1 of the mean field"
    reference = "Bengio 2013; Weber, Heess, Buesing & Silver 2019"

    def rewrite(self, site: Site) -> Draft:
        q, centre, slope = site.mean_field_pass(rollout=False)
        weight, offset = site.param("weight", site.shape, 1.0, WEIGHT), site.param("offset", site.shape, 0.0, OFFSET)
        critic = site.called(CRITIC, weight * slope + offset)
        off = stop_gradient(site.value - centre)
        left = stop_gradient(site.cost - q) - site.param("level", said=LEVEL) - site.per_signal(critic * off)
        term = total(site.score * stop_gradient(left)) + total(site.mean * stop_gradient(critic))
        draft = site.draft.with_term(site.name, term)
        said = f"the square of what is left of the costs that weigh {site.name}"
        return draft.with_objective(f"{site.name} critic", (left * left).sum(), said=said)

    def reason(self, site: Site) -> str:
        why = "the prediction does not depend on the draw, and its own gradient is added back"
        return "; ".join(filter(None, [why, site.assumption]))
