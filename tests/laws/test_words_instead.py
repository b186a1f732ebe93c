"""What NumPy and SciPy have and nodes have not: what the error says instead is written, and has their value."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from scipy import special

import scg
from scg.ops.numpy_protocol import _INSTEAD
from tests.laws.checks.sampling import within

VECTORS = {"x": [0.7, 0.2, 0.45], "a": [0.3, 0.6, 0.1], "b": [0.5, 0.2, 0.9], "p": [0.3, 0.6, 0.1],
           "q": [0.5, 0.2, 0.9], "y": [1.5, 0.2, 2.5], "r": [0.7, 0.2, 0.45], "m": np.arange(9.0).reshape(3, 3)}
PLAIN = {"np": np, "special": special, "scg": scg, "n": 3, "k": 2, "d": 0.5, "lmbda": 0.4, "tolerance": 0.25,
         "weights": np.array([0.2, 0.5, 0.3]), "c": np.array([1.0, -2.0, 3.0])}
# what somebody writes, and what the error says instead, in which x may be a matrix m
CASES = {
    "np.inner(a, b)": "(a * b).sum(-1)", "np.vdot(a, b)": "(a * b).sum()", "np.trace(m)": "(x * np.eye(n)).sum()",
    "np.repeat(x, k)": "x[np.repeat(np.arange(n), k)]", "np.tile(x, n)": "np.concatenate([x] * n)",
    "np.roll(x, k)": "np.concatenate([x[-k:], x[:-k]])", "np.flip(x)": "x[::-1]", "np.diff(x)": "x[1:] - x[:-1]",
    "np.diag(m)": "(x * np.eye(n)).sum(0)", "np.var(x)": "((x - x.mean())**2).mean()",
    "np.std(x)": "np.sqrt(((x - x.mean())**2).mean())",
    "np.average(x, None, weights)": "(weights * x).sum() / weights.sum()",
    "np.cumprod(x)": "np.exp(np.cumsum(np.log(x)))", "np.any(x > 0.5)": "condition.max()",
    "np.all(x > 0.5)": "condition.min()", "np.heaviside(x, 0.0)": "scg.where(x > 0, 1.0, 0.0)",
    "np.hypot(a, b)": "np.sqrt(a**2 + b**2)", "np.sinh(x)": "(np.exp(x) - np.exp(-x)) / 2",
    "np.cosh(x)": "(np.exp(x) + np.exp(-x)) / 2", "np.linalg.norm(x)": "np.sqrt((x**2).sum())",
    "np.isclose(a, b, 0.0, 0.25)": "abs(a - b) < tolerance", "np.array_equal(a, b)": "(a == b).min()",
    "c[np.argmax(x)]": "((x == x.max()) * c).sum()", "c[np.argmin(x)]": "((x == x.min()) * c).sum()",
    "special.log_expit(x)": "-scg.softplus(-x)", "special.logit(p)": "np.log(p) - np.log1p(-p)",
    "special.gamma(x)": "np.exp(scg.lgamma(x))", "special.xlogy(x, y)": "x * np.log(y)",
    "special.xlog1py(x, y)": "x * np.log1p(y)", "special.entr(p)": "-p * np.log(p)",
    "special.rel_entr(p, q)": "p * np.log(p / q)",
    "special.betaln(a, b)": "scg.lgamma(a) + scg.lgamma(b) - scg.lgamma(a + b)",
    "special.exprel(x)": "np.expm1(x) / x", "special.exp10(x)": "np.exp(x * np.log(10.0))",
    "special.cbrt(x)": "x ** (1 / 3)", "special.cosm1(x)": "np.cos(x) - 1",
    "special.boxcox(x, lmbda)": "(x**lmbda - 1) / lmbda",
    "special.huber(d, r)": "np.where(abs(r) <= d, 0.5 * r**2, d * (abs(r) - 0.5 * d))",
}  # fmt: skip


@pytest.mark.parametrize("call", CASES)
def test_what_stands_in_its_place(call):
    g = scg.Graph("instead")
    values = {name: np.array(vector) for name, vector in VECTORS.items()}
    nodes = {name: g.param(name, value.shape) for name, value in values.items()}
    with pytest.raises(scg.NodeUseError) as caught:
        eval(call, {**PLAIN, **nodes})
    text = CASES[call]
    assert text in caught.value.problems[0].fix
    said = {**nodes, "x": nodes["m"]} if "(m)" in call else nodes
    found = eval(text, {**PLAIN, **said, "condition": said["x"] > 0.5})
    expected = np.asarray(eval(call, {**PLAIN, **values}), dtype=float)
    weigh = np.linspace(1.0, 2.0, max(expected.size, 1)).reshape(expected.shape)
    g.cost("c", (1.0 * found * weigh).sum())
    f = scg.compile(g, wrt=(), backend="numpy")
    assert f(values).cost == pytest.approx(float(np.sum(expected * weigh)), rel=1e-12)


def test_methods_are_told_of_in_the_same_words():
    x = scg.Graph("methods").param("x", 3)
    for name in ("std", "var", "argmax", "cumprod", "norm", "diff"):
        with pytest.raises(scg.NodeAttributeError) as caught:
            getattr(x, name)
        key = f"np.{name}" if name != "norm" else "np.linalg.norm"
        assert caught.value.problems[0].fix == _INSTEAD[key]


@pytest.mark.parametrize(("name", "words"), [
    ("std", "Use np.sqrt(((x - x.mean())**2).mean())."), ("erfc", "Use 2.0 * scg.ndtr(-np.sqrt(2.0) * x)."),
    ("normal", "Use scg.Normal."), ("one_hot_categorical", "Use scg.OneHotCategorical."),
    ("LogSoftmax", "Use scg.log_softmax."),
    ("logSumExp", "Use scg.logsumexp."), ("cumprod", "Use np.exp(np.cumsum(np.log(x)))"), ("cosh", "np.exp(-x)) / 2")])
def test_names_of_the_package_are_told_of_likewise(name, words):
    with pytest.raises(scg.UnknownAttribute, match="scg has no such name") as caught:
        getattr(scg, name)
    assert words in caught.value.problems[0].fix


def test_a_choice_of_the_largest_draw_is_unbiased():
    """E c[argmax y] with y normal: the probability that one is larger than the other, and its slope."""
    g = scg.Graph("perturbed")
    t, c = g.param("t", 2), np.array([1.0, -0.5])
    x = g.sample("x", scg.Normal(t, 1.0))
    g.cost("chosen", ((x == x.max()) * c).sum())
    at = np.array([0.3, -0.2])
    r = scg.compile(g, backend="numpy")({"t": at}, samples=20_000, rng=0)
    gap = operator.sub(*at) / math.sqrt(2.0)
    slope = 1.5 * math.exp(-0.5 * gap**2) / math.sqrt(2.0 * math.pi) / math.sqrt(2.0)
    within(r.cost, r.cost_stderr, 1.5 * special.ndtr(gap) - 0.5, "cost")
    within(r.grad["t"], r.stderr["t"], np.array([slope, -slope]), "t")


def test_a_slope_that_jumps_is_told_of_by_the_kink_that_was_written():
    """Nobody wrote a comparison: it is the slope of the maximum."""
    g = scg.Graph("kink")
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=t), shape=2)
    g.cost("c", np.maximum(1.3 * b[0] + t, b[1] + 0.2))
    words = r"maximum: .*through the kink of maximum\(.*slope that jumps"
    with pytest.raises(scg.ConditionError, match=words) as caught:
        scg.compile(g, strategy=scg.REBAR(), backend="numpy")
    assert "comparison" not in str(caught.value)


def test_a_vector_of_shares_that_is_not_known_to_sum_to_1_gets_advice_that_works():
    """log p of a Dirichlet distribution at a broken stick: the advised form has its value, and its slope."""
    def at(given):
        g = scg.Graph("stick")
        v = scg.sigmoid(g.param("u", 2))
        shares = scg.stack([v[0], (1.0 - v[0]) * v[1], (1.0 - v[0]) * (1.0 - v[1])])
        g.cost("c", scg.Dirichlet([2.0, 3.0, 1.5]).log_prob(given(shares)))
        return scg.compile(g, backend="numpy")

    with pytest.raises(scg.ConditionError, match=r"of shares p .* scg\.softmax\(np\.log\(p\)\)"):
        at(lambda p: p)
    u = np.array([0.3, -0.6])
    v, r = special.expit(u), at(lambda p: scg.softmax(np.log(p)))({"u": u})
    p = np.array([v[0], (1.0 - v[0]) * v[1], (1.0 - v[0]) * (1.0 - v[1])])
    known = special.gammaln(6.5) - special.gammaln([2.0, 3.0, 1.5]).sum() + np.log(p) @ [1.0, 2.0, 0.5]
    assert r.cost == pytest.approx(known, rel=1e-12)
    slope = [(1.0 - v[0]) - 2.5 * v[0], 2.0 * (1.0 - v[1]) - 0.5 * v[1]]
    np.testing.assert_allclose(r.grad["u"], slope, rtol=1e-12)


def test_errors_of_values_say_what_is_meant():
    g = scg.Graph("matrix")
    g.cost("c", scg.MultivariateNormal(np.zeros(2), scale_tril=g.param("L", (2, 2))).log_prob(np.ones(2)))
    with pytest.raises(scg.NonFiniteError, match=r"a Cholesky factor as np\.linalg\.cholesky returns it"):
        scg.compile(g, backend="numpy")({"L": np.ones((2, 2))})
    g = scg.Graph("impossible")
    g.cost("c", scg.logsumexp(np.where(g.data("m") > np.arange(3.0), g.param("u", 3), -np.inf)))
    with pytest.raises(scg.NonFiniteError, match=r"keep one of them finite.*scg\.where\(mask"):
        scg.compile(g, backend="numpy")({"u": np.zeros(3), "m": [-1.0]})
