"""PSA: single flips of layers of binary draws, held to the formula of the paper, its linearisation, and exactness."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law, worst

SIZES = (2, 3, 2, 2)
_rng = np.random.default_rng(5)
VALUES = {f"W{k}": _rng.normal(size=(n, m)) for k, (m, n) in enumerate(itertools.pairwise(SIZES))}
VALUES |= {f"b{k}": 0.5 * _rng.normal(size=n) for k, n in enumerate(SIZES[1:])} | {"w": np.array([1.3, -0.8])}
X = np.array([0.7, -1.2])


def net(signs: bool = False) -> scg.Graph:
    """Three layers on two inputs, and a cost that is not linear in the last; coded 0 and 1, or −1 and 1."""
    g = scg.Graph("layers")
    h = X
    for k, n in enumerate(SIZES[1:]):
        a = g.param(f"W{k}", VALUES[f"W{k}"].shape) @ h + g.param(f"b{k}", n)
        b = g.sample(f"h{k + 1}", scg.Bernoulli(logits=a))
        h = 2 * b - 1 if signs else b
    g.cost("loss", scg.softplus(g.param("w", 2) @ h))
    return g


def by_hand(draws: list[np.ndarray], signs: bool, step: float = 1.0) -> dict[str, np.ndarray]:
    """PSA of one path as Shekhovtsov et al. have it, in floats; flips are made `step` of the way, and scaled back."""
    h = [X, *(2.0 * b - 1.0 if signs else b for b in draws)]
    a = [VALUES[f"W{k}"] @ h[k] + VALUES[f"b{k}"] for k in range(len(draws))]
    sign = [2.0 * b - 1.0 for b in draws]
    width = 2.0 if signs else 1.0

    def loss(last):
        return np.logaddexp(0.0, VALUES["w"] @ last)

    weight = np.array([loss(h[-1]) - loss(h[-1] - step * width * s * e)
                       for s, e in zip(sign[-1], np.eye(len(sign[-1])))]) / step
    found = {"w": expit(VALUES["w"] @ h[-1]) * h[-1]}
    for k in reversed(range(len(draws))):
        slope = weight * sign[k] * expit(a[k]) * expit(-a[k])
        found |= {f"W{k}": np.outer(slope, h[k]), f"b{k}": slope}
        if k:
            moved = a[k][:, None] - step * width * VALUES[f"W{k}"] * sign[k - 1]
            change = expit(sign[k] * a[k])[:, None] - expit(sign[k][:, None] * moved)
            weight = weight @ change / step
    return found


def paths() -> list[tuple[float, list[np.ndarray]]]:
    """All draws of the net coded 0 and 1, with their probabilities."""
    found = []
    for bits in itertools.product((0.0, 1.0), repeat=sum(SIZES[1:])):
        chance, h, draws, left = 1.0, X, [], list(bits)
        for k, n in enumerate(SIZES[1:]):
            b, left = np.array(left[:n]), left[n:]
            p = expit(VALUES[f"W{k}"] @ h + VALUES[f"b{k}"])
            chance *= np.prod(np.where(b == 1.0, p, 1.0 - p))
            draws, h = [*draws, b], b
        found.append((chance, draws))
    return found


# --- the paper's formula ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("estimator, step", [(scg.PSA(), 1.0), (scg.StraightThrough(), 1e-5)], ids=str)
def test_each_replicate_is_the_papers_formula_and_its_linearisation_is_straight_through(estimator, step, signs):
    """With whole flips it is PSA; with flips of a vanishing size it is the straight-through estimator."""
    g = net(signs)
    f = scg.compile(g, strategy=estimator, backend="numpy")
    for seed in range(8):
        r = f(VALUES, samples=1, rng=seed, record=("h1", "h2", "h3"))
        expected = by_hand([r.record[f"h{k + 1}"][0, 0] for k in range(3)], signs, step)
        assert worst(r.grad, expected) < (1e-12 if step == 1.0 else 1e-4)


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_its_expectation_is_that_of_the_formula(by):
    found = by(derive(net(), scg.PSA()), VALUES).grad
    expected = {name: sum(chance * by_hand(draws, False)[name] for chance, draws in paths()) for name in VALUES}
    assert worst(found, expected) < TOLERANCE


# --- bias ------------------------------------------------------------------------------------------------------------
def test_the_last_layer_is_exact_and_earlier_ones_are_biased():
    d, exact = derive(net(), scg.PSA()), integrate(net(), VALUES)
    assert {name: v.status for name, v in d.verdicts.items()} == {"h1": "biased", "h2": "biased", "h3": "unbiased"}
    found = expected_gradient(d, VALUES)
    for name, slope in exact.grad.items():
        off = np.max(np.abs(found.grad[name] - slope))
        assert off > 1e-4 if name in ("W0", "b0", "W1", "b1") else off < TOLERANCE, name
    assert abs(found.cost - exact.cost) < TOLERANCE


@pytest.mark.parametrize("strategy", [{"h1": scg.PSA(), "h2": scg.ScoreFunction(), "h3": scg.LocalExpectation()},
                                      {"h1": scg.ARM(), "h2": scg.ScoreFunction(), "h3": scg.PSA(averaged=True)},
                                      {"h1": scg.MuProp(), "h2": scg.PSA(), "h3": scg.Enumerate()}], ids=str)
def test_beside_others_it_is_exact_where_it_moves_no_other_layer_of_its_own(strategy):
    d = derive(net(), strategy)
    assert all(v.status == "unbiased" for v in d.verdicts.values())
    check_exact_law(net(), VALUES, strategy)


def test_layers_named_together_are_those_named_one_by_one():
    one, two = (scg.compile(net(), strategy=s, backend="numpy")(VALUES, samples=50, rng=3).grad for s in (
        {("h1", "h2"): scg.PSA(), "h3": scg.ScoreFunction()},
        {"h1": scg.PSA(), "h2": scg.PSA(), "h3": scg.ScoreFunction()}))
    assert all(np.array_equal(one[name], two[name]) for name in VALUES)


def test_averaging_over_flips_keeps_the_expectation_and_varies_less():
    plain, averaged = (derive(net(), scg.PSA(averaged=a)) for a in (False, True))
    assert worst(expected_gradient(averaged, VALUES).grad, expected_gradient(plain, VALUES).grad) < TOLERANCE
    errors = [scg.compile(net(), strategy=scg.PSA(averaged=a), backend="numpy")(VALUES, samples=2000, rng=1).stderr
              for a in (False, True)]
    assert np.all(errors[1]["w"] < 0.95 * errors[0]["w"])


def skipping() -> scg.Graph:
    """A cost of both layers, logits of the second that multiply draws of two earlier sites, and a shared site."""
    g = scg.Graph("skipping")
    u = g.param("u", 2)
    s = g.sample("s", scg.Bernoulli(logits=u[0]))
    h1 = g.sample("h1", scg.Bernoulli(logits=u + s))
    h2 = g.sample("h2", scg.Bernoulli(logits=h1 * s - u[::-1]))
    g.cost("both", (h1 @ np.array([0.7, -1.1]) + h2.sum() * s - 0.4) ** 2)
    return g


def test_weights_of_later_layers_are_held_where_costs_see_both():
    """λ of the first layer: what its flip does to the cost, and to the chances of the second, whose λ stay."""
    at = np.array([0.4, -0.6])
    g = skipping()
    f = scg.compile(g, strategy={"s": scg.ScoreFunction(), "h1": scg.PSA(), "h2": scg.PSA()}, backend="numpy")
    r, drawn = (f.surrogate.evaluate({"u": at}, samples=8, rng=0),
                f({"u": at}, samples=8, rng=0, record=("s", "h1", "h2")).record)
    for lane in range(8):
        s, h1, h2 = (drawn[name][0, lane] for name in ("s", "h1", "h2"))

        def cost(h1, h2, s=s):
            return (h1 @ np.array([0.7, -1.1]) + h2.sum() * s - 0.4) ** 2

        def chances(h1, s=s, h2=h2):
            return expit((2 * h2 - 1) * (h1 * s - at[::-1]))

        def flips(h):
            return [np.where(np.arange(2) == i, 1 - h, h) for i in range(2)]

        second = np.array([cost(h1, h2) - cost(h1, h) for h in flips(h2)])
        first = np.array([cost(h1, h2) - cost(h, h2) + (chances(h1) - chances(h)) @ second for h in flips(h1)])
        a1, a2 = at + s, h1 * s - at[::-1]
        own = (2 * h1 - 1) * expit(a1) * expit(-a1) * first - ((2 * h2 - 1) * expit(a2) * expit(-a2) * second)[::-1]
        own[0] += (s - expit(at[0])) * cost(h1, h2)
        np.testing.assert_allclose(r.gradient("u")[0, lane], own, atol=1e-12)


# --- what is refused -------------------------------------------------------------------------------------------------
def refused(build, strategy, *said: str) -> None:
    with pytest.raises(scg.EstimatorError) as error:
        scg.compile(build, strategy=strategy)
    for text in said:
        assert text in str(error.value), str(error.value)


def test_logits_that_are_not_affine_in_the_layer_below_are_refused():
    g = scg.Graph("bent")
    t = g.param("t", 2)
    a = g.sample("a", scg.Bernoulli(logits=t))
    b = g.sample("b", scg.Bernoulli(logits=np.tanh(a * t)))
    g.cost("loss", (b.sum() - 0.4) ** 2)
    refused(g, scg.PSA(), 'sample "a"', '"b" are not affine', "tanh", "Use", "LocalExpectation()")
    check_exact_law(g, {"t": [0.3, -0.4]}, {"a": scg.PSA(), "b": scg.ScoreFunction()})  # replayed, it may be anything


def test_loops_and_other_families_are_refused():
    g = scg.Graph("loop")
    t = g.param("t")

    def step(carry, _):
        b = g.sample("b", scg.Bernoulli(logits=t + carry))
        g.cost("loss", (b - 0.4) ** 2)
        return b, None

    g.scan(step, 0.5, length=2)
    refused(g, scg.PSA(), "steps of a loop", "Python loop", "LocalExpectation()")
    g = scg.Graph("categories")
    k = g.sample("k", scg.Categorical(logits=g.param("t", 3)))
    g.cost("loss", (k - 0.4) ** 2)
    refused(g, scg.PSA(), "Categorical has no log-odds", "LocalExpectation()")
    with pytest.raises(scg.EstimatorError, match="averaged"):
        scg.PSA(averaged=1)
