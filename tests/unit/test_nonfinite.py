"""What is said of an estimate that is not finite: the user's names and lines, and nothing of how samples are drawn."""

import re

import numpy as np
import pytest

import scg

OURS = re.compile(r"uniform|ndtri|noise\(|Stream|Draw\(|Axis|\d+:|out\(|\x1f")


def said(declare, value: float = -1.0, strategy=None) -> str:
    g = scg.Graph("toy")
    declare(g, g.param("t"))
    f = scg.compile(g, backend="numpy", strategy=strategy)
    with pytest.raises(scg.NonFiniteError) as info:
        f({"t": value}, samples=200, rng=0)
    text = str(info.value)
    assert not OURS.search(text) and "test_nonfinite.py" in text and len(text) < 320, text
    return text


def in_a_cost(g, t):
    g.cost("c", np.log(g.sample("b", scg.Bernoulli(logits=t)) + t))


def in_a_derivative(g, t):
    g.cost("c", t * np.sqrt(g.sample("b", scg.Bernoulli(probs=0.5)) * scg.sigmoid(t)))


def in_a_step(g, t):
    g.cost("c", g.scan(lambda c, x: (np.log(c - g.sample("b", scg.Bernoulli(logits=t - c))), None), 1.0, length=3)[0])


def in_a_named_node_of_a_step(g, t):
    def step(c, x):
        h = g.node("h", 1.0 / (2.0 - c - g.sample("b", scg.Bernoulli(logits=0.0 * t))))
        return c + 1.0, h

    g.cost("c", g.scan(step, 0.0, length=3)[1])


def in_the_derivative_of_a_step(g, t):
    g.cost("c", g.sample("b", scg.Bernoulli(probs=0.5)) + g.scan(lambda c, x: (np.sqrt(c), None), t, length=2)[0])


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.WeakDerivative(), scg.LocalExpectation()], ids=str)
@pytest.mark.parametrize("declare, value, words", [
    (in_a_cost, -1.0, ["log(b + t) is the first"]),
    (in_a_derivative, -1.0, ["The derivative", "sqrt(b * sigmoid(t))"]),
    (in_a_step, -1.0, ["log(carry 0 - b) in step 0 of a scan is the first", "above 0"]),
    (in_a_named_node_of_a_step, 0.0, ['Node "h" = 1 / (2 - carry 0 - b) in step 1 of a scan', "denominator"]),
    (in_the_derivative_of_a_step, 0.0, ["in step 1 of a scan is the first", "denominator"]),
])  # fmt: skip
def test_the_first_that_is_not_finite(declare, value, words, strategy):
    text = said(declare, value, strategy)
    assert all(word in text for word in words), text


def test_samplers_stay_unsaid():
    def declare(g, t):
        x = g.sample("x", scg.Normal(loc=t, scale=1.0))
        g.cost("c", np.sqrt(np.exp(x)))

    text = said(declare, -2000.0, scg.Pathwise())  # exp is positive, but rounds to 0 there
    assert "The derivative" in text and "sqrt(exp(x))" in text


# --- sums of nothing -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_sum_of_nothing_is_0(backend):
    g = scg.Graph()
    t, none = g.param("t"), g.param("none", 0)
    b = g.sample("b", scg.Bernoulli(logits=t))
    g.cost("c", (b + none.sum() + np.sum(b * none) + np.ones((2, 0)).sum(axis=1) @ scg.stack([t, b]) - 0.45) ** 2)
    g.cost("d", np.sum(g.param("table", (2, 0)).sum(axis=1) * t))
    values = {"t": 0.3, "none": np.zeros(0), "table": np.zeros((2, 0))}
    f = scg.compile(g, backend=backend, strategy=scg.LocalExpectation())
    r, exact = f(values, samples=2000, rng=0), scg.exact(g, values)
    assert abs(r.cost - exact.cost) < 5 * r.cost_stderr and r.costs["d"] == 0.0
    np.testing.assert_allclose(r.grad["t"], exact.grad["t"], rtol=1e-12)
    assert r.grad["none"].shape == (0,) and r.grad["table"].shape == (2, 0)


# --- loops with a site that is summed out ----------------------------------------------------------------------------
def by_a_carry(g, t):
    def step(c, x):
        return c + g.sample("s", scg.Bernoulli(logits=t)) + 1.0 / (c - 1.0), None

    g.cost("c", g.scan(step, 1.0, length=2)[0])


def after_the_loop(g, t):
    def step(c, x):
        return g.sample("s", scg.Categorical(logits=t * np.arange(3.0))), None

    g.cost("c", np.log(g.scan(step, 0.0, length=2)[0] - 1.0))


def by_a_derivative(g, t):
    def step(c, x):
        return c + np.sqrt(g.sample("s", scg.Bernoulli(logits=t)) * t * 0.0), None

    g.cost("c", g.scan(step, 0.0, length=2)[0])


def by_a_density(g, t):
    def step(c, x):
        return c + scg.Poisson(rate=np.exp(t)).log_prob(g.sample("s", scg.Bernoulli(logits=t)) - 0.5), None

    g.cost("c", g.scan(step, 0.0, length=2)[0])


def in_a_loop_in_the_loop(g, t):
    def step(c, x):
        s = g.sample("s", scg.Bernoulli(logits=t))
        return c + g.scan(lambda d, _: (np.log(d - s), None), 1.0, length=2)[0], None

    g.cost("c", g.scan(step, 0.0, length=2)[0])


def by_another_site(g, t):
    def step(c, x):
        s = g.sample("s", scg.Bernoulli(logits=t))
        return c + g.sample("later", scg.Bernoulli(logits=t)) / s, None

    g.cost("c", g.scan(step, 0.0, length=2)[0])


@pytest.mark.parametrize("declare, words", [
    (by_a_carry, ["1 / (carry 0 - 1) in step 0 of a scan", "denominator"]),
    (by_a_derivative, ["The derivative", "sqrt(s * t * 0)"]),
    (by_a_density, ["log-probability", "Poisson"]),
    (by_another_site, ["later / s in step 0 of a scan is the first", "denominator"]),
])  # fmt: skip
def test_loops_with_a_site_that_is_summed_out(declare, words):
    """What is to blame is found in the worlds of its values: the site is not drawn any more."""
    strategy = {"s": scg.Enumerate(), **({"later": scg.LocalExpectation()} if declare is by_another_site else {})}
    text = said(declare, 0.5, strategy)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("declare, words", [(after_the_loop, r", log: .*above 0"),
                                            (in_a_loop_in_the_loop, "result of a scan: .* in step 0 of a scan")])
def test_what_such_loops_put_out(declare, words):
    g = scg.Graph("toy")
    declare(g, g.param("t"))
    with pytest.raises(scg.NonFiniteError, match=words):
        scg.compile(g, backend="numpy", strategy=scg.Enumerate())({"t": 0.5}, rng=0)


@pytest.mark.parametrize("samples", [1000, 50_000], ids=["one chunk", "several chunks"])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.filterwarnings("error")
def test_infinite_results_warn_of_nothing(samples, per_row):
    """Costs of which all, or a few, are infinite: the error of this package, whatever chunks are made of them."""
    g = scg.Graph("infinite")
    u, m, y = g.param("u"), g.param("m"), g.data("y")
    z = g.sample("z", scg.Normal(m, 1.0), per_row=per_row)
    g.cost("nll", -scg.Bernoulli(logits=z * u).log_prob(y))
    f = scg.compile(g, backend="numpy")
    for values in ([3.5, -1.0], [1.0, -1.0]):
        with pytest.raises(scg.NonFiniteError):
            f({"m": 0.1, "u": 0.2, "y": np.array(values)}, samples=samples, rng=0)


def test_an_index_outside_of_its_table_is_told_of_and_not_what_it_makes():
    """But what is said of a site that it makes NaN names it, for who has no graph to look at."""
    g = scg.Graph("table")
    z = g.sample("z", scg.Normal(np.tanh(g.param("t", 3)[g.data("y")]), 1.0))
    g.cost("c", z**2)
    f = scg.compile(g, backend="numpy")
    with pytest.raises(scg.CallError) as caught:
        f({"t": np.zeros(3), "y": [0, 5]}, samples=2, rng=0)
    (problem,) = caught.value.problems
    assert "In row 1 it is 5" in problem.why
    (other,) = [p for p in f.surrogate.derivation.draft.checks if "was given loc" in p.problem.what]
    assert "within their tables" in other.problem.fix
