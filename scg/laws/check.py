"""`check`: the laws of its kind, for a part of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from scg.baselines.baseline import Baseline
from scg.distributions.distribution import Distribution, Family
from scg.errors import DeclarationError, EstimatorError, ExactError, LawError, SCGError, brief
from scg.estimators import Estimator, ScoreFunction
from scg.ir.location import here
from scg.ir.node import constant
from scg.ir.op import Op
from scg.ir.signed import signed
from scg.laws import capabilities as of_capabilities
from scg.laws import estimators as of_estimators
from scg.laws import families as of_families
from scg.laws import records as of_records
from scg.laws.broken import Beside, Broken
from scg.laws.integrals import NoRule
from scg.laws.ops import check_elementwise, check_elsewhere

Law = tuple[str, Callable[[], object]]


@dataclass(frozen=True)
class Checks:
    """What `check` found to hold.

    Attributes
    ----------
    held : tuple of str
        The laws that hold, in words.
    left : tuple of str
        What was not looked at, and why.
    false_alarm : float
        The probability with which each statistical test among them rejects what is right. Seeds are fixed: it does so
        always or never.
    """

    held: tuple[str, ...]
    left: tuple[str, ...] = ()
    false_alarm: float = of_families.FIVE_SIGMA

    def __repr__(self) -> str:
        return "\n".join([*(f"holds: {law}" for law in self.held), *(f"not looked at: {what}" for what in self.left)])


@signed
def check(part: Any) -> Checks:
    """Hold a part of one's own to the laws that those of the package are held to.

    Parameters
    ----------
    part : Distribution, op, Estimator or Baseline
        A family, at its `cases`, or a distribution at literals: its density sums or integrates to 1; draws are in the
        support, and follow it; mean, variance, entropy and quadrature are those of the density, the score has mean 0,
        the derivative of a path and a weak derivative are that of an expectation.
        Methods that say one thing in two ways agree; `scg.exact`, and the package's estimators that take the family,
        give what integrals of the density do.
        An op, as `elementwise` returns it: value, source, formula and derivatives agree at its `samples` and near them,
        and what its record says of bounds, integers, linearity, products, picks and finiteness is true at points.
        An estimator, or a baseline: expected gradients of small graphs are those of the enumerated costs; those of
        other sites are sampled, so that what is wrong by less than some 5 % may pass.

    Returns
    -------
    Checks

    Raises
    ------
    LawError
        If a law does not hold.
    """
    title, laws = _laws_of(part)
    held: list[str] = []
    left: list[str] = list(_taken_at_its_word(part))
    for words, law in laws:
        try:
            law()
        except Broken as why:
            raise LawError(str(here() or ""), f"{title} was checked: {words}.", f"That does not hold: {why}.",
                           "Correct what it is about; laws are tried one after another.") from None
        except Beside:
            continue
        except (NoRule, EstimatorError, ExactError) as why:
            left.append(f"{words}: {_briefly(why)}")
        else:
            held.append(words)
    return Checks(tuple(dict.fromkeys(held)), tuple(dict.fromkeys(left)))


def _laws_of(part: Any) -> tuple[str, Iterator[Law]]:
    if isinstance(part, type) and issubclass(part, Distribution) and part.cases:
        return part.__name__, (law for case in part.cases for law in _of_family(part, case))
    if isinstance(part, Distribution):
        return type(part).__name__, _of_family(*_at_numbers(part))
    if isinstance(part, Op) and part.kind == "elementwise":
        return f'The op "{part.name}"', _of_op(part)
    if isinstance(part, Estimator) and part.scope in ("site", "together"):
        return repr(part), _of_estimator(part)
    if isinstance(part, Baseline):
        return repr(part), _of_estimator(ScoreFunction(part))
    raise DeclarationError(str(here() or ""), f"check({brief(part)}) was called.",
                           "It has no laws for that.", "Give it a family that has cases, a distribution at literals, "
                           "an elementwise op, an estimator of sites or a baseline.")


def _taken_at_its_word(part: Any) -> Iterator[str]:
    """What no law of its kind looks at."""
    if isinstance(part, Op):
        own = [f.name for f in fields(Op) if f.name in _UNTRIED and getattr(part, f.name) != f.default]
        yield from [f"what its record says of {', '.join(own)}"] if own else []
    elif isinstance(part, Estimator | Baseline):
        yield "sites of other families than Bernoulli, Categorical, Normal, Poisson and Gamma"
        yield f"arrays of more than {of_estimators.MANY} draws"
    else:
        cls = part if isinstance(part, type) else type(part)
        said = [name for name in ("edges", "tail", "zero_stays") if getattr(cls, name) != getattr(Distribution, name)]
        yield from [f"what the class says of {', '.join(said)}"] if said else []


def _briefly(why: Exception) -> str:
    """What was refused and why, without what would work elsewhere."""
    return f"{why.problems[0].what} {why.problems[0].why}" if isinstance(why, SCGError) else str(why)


class _AtData:
    """A family with data of its own, called as other families are: by its parameters."""

    def __init__(self, family: Family):
        self._family = family

    def __call__(self, **case: Any) -> Distribution:
        return self._family._at({name: constant(value) for name, value in case.items()})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)


def _at_numbers(dist: Distribution) -> tuple[Any, dict[str, np.ndarray]]:
    """The family of a distribution at literals, and these."""
    if not all(node.is_const for node in dist.params.values()):
        raise DeclarationError(str(here() or ""), f"check({brief(dist)}) was called.",
                               "A parameter of it is no number.", "Give it at literals.")
    family = type(dist) if dist.data is None else _AtData(Family(type(dist), dist.data))
    return family, {name: node.attrs.array for name, node in dist.params.items()}


def _of_family(family: Any, case: Mapping[str, Any]) -> Iterator[Law]:
    """The laws of a family at a case, as far as it has what they are about."""
    def law(words: str, function: Callable[..., object], *more: Any) -> Law:
        return words, lambda: function(family, case, *more)

    dist = family(**case)
    if not dist.able("log_prob"):
        return
    yield law("the density sums or integrates to 1", of_families.check_normalised)
    yield law("mean, variance and entropy are those of the density", of_families.check_moments)
    if dist.able("sample"):
        yield law("draws are in the support, and follow the density", of_families.check_sampler)
        yield law("so do antithetic ones", of_families.check_sampler, "sample", True)
        yield law("the score is the derivative of log_prob, and has mean 0", of_families.check_score)
    for capability, words, function, more in _CAPABILITIES:
        if dist.able(capability):
            yield law(words, function, *more)
    if dist.able("quadrature") or dist.able("support_values"):
        yield law("its expectation by scg.exact is that of the density", of_capabilities.check_exact)
    for estimator in of_capabilities.estimators():
        if dist.able("sample"):
            yield law(f"gradients under {estimator!r} are those of an expectation", of_capabilities.check_gradients,
                      estimator)


_CAPABILITIES: tuple[tuple[str, str, Callable[..., object], tuple], ...] = (
    ("reparameterise", "the path's draws follow the density", of_families.check_sampler, ("reparameterise",)),
    ("reparameterise", "the derivative of the path is that of an expectation", of_families.check_path, ()),
    ("quadrature", "the quadrature has the moments of the density", of_families.check_quadrature, ()),
    ("fine_quadrature", "the fine quadrature is that of the density", of_families.check_fine_quadrature, ()),
    ("support_values", "the support's values lie in it", of_capabilities.check_values, ()),
    ("probability", "probability is that of log_prob", of_capabilities.check_probability, ()),
    ("score_form", "the score's form has the derivative of log_prob", of_capabilities.check_score_form, ()),
    ("log_odds", "log_odds are those of log_prob", of_capabilities.check_log_odds, ()),
    ("relaxed", "the relaxation becomes the draw, and has its law given the draw", of_capabilities.check_relaxation,
     ()),
    ("breaks", "the draw changes at its breaks", of_families.check_breaks, ()),
    ("weak_derivative", "the weak derivative, coupled, is that of an expectation", of_families.check_weak_derivative,
     (True,)),
    ("weak_derivative", "the weak derivative, independent, is that of an expectation",
     of_families.check_weak_derivative, (False,)))


# What a record may say that no law looks at
_UNTRIED = ("poles", "tied", "ignores", "flat", "steep", "logarithmic", "growth", "oscillates", "depends",
            "constant_sums", "stands_for", "rests")


def _of_op(op: Op) -> Iterator[Law]:
    """Its interpretations at its samples and elsewhere, and what its record says."""
    yield "value, source, formula and derivatives at its samples", lambda: check_elementwise(op)
    yield "value and source beyond the samples, the derivative beside them", lambda: check_elsewhere(op)
    for name, does in of_records.said(op).items():
        if does:
            yield f"what its record says: {name}", lambda name=name: of_records.check_record(op, name)


def _of_estimator(estimator: Estimator) -> Iterator[Law]:
    """The exact law on small graphs; and gradients of sites that have many values, by sampling."""
    if not estimator.unbiased:
        raise DeclarationError(str(here() or ""), f"check({estimator!r}) was called.",
                               "It is declared to be biased, so there is no law for its expectation.",
                               "Compare its gradients with those of scg.exact yourself.")
    for words, graph, values in of_estimators.small_graphs():
        yield (f"the expected gradient on a graph of {words}",
               lambda graph=graph, values=values: of_estimators.check_exact_law(graph, values, estimator))
    for words, graph, values, expected in of_estimators.sampled_graphs():
        yield (f"gradients of {words}, by sampling",
               lambda graph=graph, values=values, expected=expected: of_estimators.check_by_sampling(
                   graph, values, expected, estimator))
