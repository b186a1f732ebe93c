"""What lies in the simplex by the way it is made is known to, and its densities are differentiated; so are those of
data whose weights are random. Numbers are closed forms, and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scg_numpy import Evaluation, evaluate
from scipy import stats
from scipy.special import expit, log_softmax, softmax

import scg
from scg.analysis.simplex import in_simplex
from tests.laws.checks.sampling import within

A, U = np.array([2.5, 1.5, 3.0]), np.array([0.1, 0.4, -0.3])
ROWS = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def near(r, name: str, expected) -> None:
    """The gradient is as expected."""
    within(r.grad[name], r.stderr[name], np.asarray(expected), f"the gradient in {name}")


INSIDE = {
    "softmax": lambda u: scg.softmax(u),
    "shares": lambda u: scg.exp(u) / scg.exp(u).sum(),
    "shares of squares": lambda u: u**2 / (u**2).sum(),
    "rows": lambda u: scg.softmax(scg.stack([u, 2.0 * u])),
    "columns, transposed": lambda u: scg.softmax(scg.stack([u, 2.0 * u]), axis=0).T,
    "picked": lambda u: scg.softmax(scg.stack([u, 2.0 * u]))[1],
    "reshaped": lambda u: scg.softmax(scg.stack([u, 2.0 * u])).reshape((1, 2, 3)),
    "turned": lambda u: scg.softmax(u)[::1],
    "mixed": lambda u: 0.9 * scg.softmax(u) + 0.1 / 3.0,
    "mean of rows": lambda u: scg.softmax(scg.stack([u, -u])).mean(axis=0),
    "row times rows": lambda u: scg.softmax(u[:2]) @ scg.softmax(scg.stack([u, 2.0 * u])),
    "row times literal rows": lambda u: scg.softmax(u[:2]) @ ROWS,
    "rows times rows": lambda u: scg.softmax(scg.stack([u[:2], u[1:]])) @ ROWS,
    "chosen": lambda u: scg.where(u[0] > 0.0, scg.softmax(u), scg.softmax(-u)),
    "named": lambda u: scg.stop_gradient(scg.softmax(u)),
}
OUTSIDE = {
    "not shares": lambda u: scg.exp(u),
    "twice": lambda u: 2.0 * scg.softmax(u),
    "signed shares": lambda u: u / u.sum(),
    "columns": lambda u: scg.softmax(scg.stack([u, 2.0 * u]), axis=0),
    "shares of all rows": lambda u: scg.exp(scg.stack([u, -u])) / scg.exp(scg.stack([u, -u])).sum(),
    "shares of another's sum": lambda u: scg.exp(u) / scg.exp(2.0 * u).sum(),
    "shares of another axis": lambda u: scg.exp(u[:, None] + u) / scg.exp(u[:, None] + u).sum(axis=-1),
    "part": lambda u: scg.softmax(u)[:2],
    "element by element": lambda u: scg.where(u > 0.0, scg.softmax(u), scg.softmax(-u)),
    "difference": lambda u: 2.0 * scg.softmax(u) - scg.softmax(3.0 * u),
    "row times columns": lambda u: scg.softmax(u[:2]) @ scg.softmax(scg.stack([u, 2.0 * u]), axis=0),
    "no row times rows": lambda u: scg.exp(u[:2]) @ ROWS,
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_made_so_is_proved_to_be_there(name):
    u = scg.Graph("g").param("u", 3)
    x = INSIDE[name](u)
    assert in_simplex(x).holds is True
    (found,) = evaluate([x], Evaluation({"u": U}, {}, {}))
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-12)
    assert np.all(found >= 0.0)


@pytest.mark.parametrize("name", OUTSIDE)
def test_of_anything_else_it_is_not_said(name):
    u = scg.Graph("g").param("u", 3)
    x = OUTSIDE[name](u)
    known = in_simplex(x)
    assert not known.holds and known.why
    (found,) = evaluate([x], Evaluation({"u": U}, {}, {}))
    assert known.holds is None or not np.allclose(found.sum(axis=-1), 1.0)


@pytest.mark.parametrize("name", ["softmax", "shares", "mixed", "row times rows", "mean of rows"])
def test_a_density_there_is_differentiated(name):
    """The gradient of Dirichlet's log-density of a point made of params, by central differences of SciPy's."""
    g = scg.Graph("map")
    g.cost("c", scg.Dirichlet(A).log_prob(INSIDE[name](g.param("u", 3))))
    r = scg.compile(g, backend="numpy")({"u": U})
    x = scg.Graph("g").param("u", 3)

    def value(u):
        return stats.dirichlet.logpdf(evaluate([INSIDE[name](x)], Evaluation({"u": u}, {}, {}))[0], A)

    h = 1e-5
    expected = [(value(U + h * e) - value(U - h * e)) / (2 * h) for e in np.eye(3)]
    assert r.cost == pytest.approx(value(U))
    np.testing.assert_allclose(r.grad["u"], expected, rtol=1e-7, atol=1e-8)


def test_a_path_passes_it():
    """E log Dirichlet(softmax z) of two normal z: an integral over their difference."""
    a, u, s = A[:2], U[:2], 0.5
    g = scg.Graph("logistic normal")
    z = g.sample("z", scg.Normal(g.param("u", 2), s))
    g.cost("c", scg.Dirichlet(a).log_prob(scg.softmax(z)))
    f = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
    share = expit(u[0] - u[1] + s * np.sqrt(2.0) * POINTS)
    slope = WEIGHTS @ ((a[0] - 1.0) * (1.0 - share) - (a[1] - 1.0) * share)
    r = f({"u": u}, samples=20_000, rng=0)
    near(r, "u", [slope, -slope])


PRIORS = {
    "one-hot, logits": (scg.OneHotCategorical, "logits"), "one-hot, probs": (scg.OneHotCategorical, "probs"),
    "Bernoulli, logits": (scg.Bernoulli, "logits"), "Bernoulli, probs": (scg.Bernoulli, "probs")}


@pytest.mark.parametrize("strategy", [scg.REBAR(eta=0.7, temperature=0.5), scg.MuProp(), scg.StraightThrough(),
                                      scg.GumbelSoftmax(temperature=0.5)], ids=repr)
@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_asked_about_relaxed_draws(name, strategy):
    """E log prior(z), of which the gradient is p (f − pᵀ f) with f = log prior; a relaxed draw is no jump of it."""
    family, form = PRIORS[name]
    one_hot, prior = family is scg.OneHotCategorical, np.array([0.2, 0.5, 0.3])
    f = np.log(prior) if one_hot else np.log(prior[:2]) - np.log1p(-prior[:2])
    given = {"probs": prior if one_hot else prior[:2], "logits": f}[form]
    theta = U if one_hot else U[:2]
    g = scg.Graph("elbo")
    z = g.sample("z", family(logits=g.param("theta", len(theta))))
    log_p = family(**{form: given}).log_prob(z)
    g.cost("c", log_p if one_hot else log_p.sum())
    compiled = scg.compile(g, strategy=strategy, backend="numpy")
    r = compiled({"theta": theta}, samples=4000, rng=0)
    p = softmax(theta) if one_hot else expit(theta)
    assert np.all(np.isfinite(r.grad["theta"]))
    if compiled.verdict.unbiased:
        near(r, "theta", p * (f - p @ f) if one_hot else p * (1.0 - p) * f)


def test_a_relaxed_draw_is_bounded_whatever_its_weights_are():
    """z₁₀ z₀₂ has the mean p₀ p₂, of weights that are normalised."""
    w = np.array([0.6, 1.0, 0.4])
    g = scg.Graph("product")
    z = g.sample("z", scg.OneHotCategorical(probs=g.param("w", 3)), shape=2)
    g.cost("c", z[1, 0] * z[0, 2])
    r = scg.compile(g, strategy=scg.REBAR(eta=1.0, temperature=0.5), backend="numpy")({"w": w}, samples=20_000, rng=0)
    p = w / w.sum()
    near(r, "w", (p[2] * (np.eye(3)[0] - p[0]) + p[0] * (np.eye(3)[2] - p[2])) / w.sum())


# --- weights that are random -----------------------------------------------------------------------------------------
def test_data_of_weights_that_are_mixed_at_random():
    """Topics θ ~ Dirichlet: log Σ θₖ Bₖ[w], its mean and its gradient in B by quadrature over one share."""
    a, b, words = np.array([2.0, 3.0]), np.array([[0.2, -0.3, 0.5], [1.0, 0.0, -0.4]]), np.array([0, 2, 1])
    g = scg.Graph("topics")
    theta, table = g.sample("theta", scg.Dirichlet(a)), g.param("b", (2, 3))
    g.cost("c", scg.Categorical(probs=theta @ scg.softmax(table)).log_prob(g.data("w")))
    r = scg.compile(g, backend="numpy")({"b": b, "w": words.astype(float)}, samples=20_000, rng=0)
    x, w = np.polynomial.legendre.leggauss(60)
    x = (x + 1.0) / 2.0
    w = w / 2.0 * stats.beta.pdf(x, *a)

    def value(b):
        topics = softmax(b, axis=1)
        return w @ np.log(np.outer(x, topics[0]) + np.outer(1.0 - x, topics[1]))[:, words].mean(axis=1)

    h = 1e-5
    slopes = [(value(b + h * e) - value(b - h * e)) / (2 * h) for e in np.eye(6).reshape(6, 2, 3)]
    within(r.cost, r.cost_stderr, value(b), "the cost")
    near(r, "b", np.reshape(slopes, (2, 3)))


def test_data_of_weights_that_a_path_moves():
    """log softmax(z, 0, ½ z)[y] of a normal z."""
    y = np.array([0, 2, 1])
    g = scg.Graph("regression")
    z = g.sample("z", scg.Normal(g.param("m"), 0.8))
    g.cost("c", scg.Categorical(probs=scg.softmax(scg.stack([z, 0.0 * z, 0.5 * z]))).log_prob(g.data("y")))
    f = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
    r = f({"m": 0.3, "y": y.astype(float)}, samples=20_000, rng=0)

    def value(m):
        z = m + 0.8 * POINTS
        return WEIGHTS @ log_softmax(np.stack([z, 0.0 * z, 0.5 * z]), axis=0)[y].mean(axis=0)

    near(r, "m", (value(0.3 + 1e-4) - value(0.3 - 1e-4)) / 2e-4)


@pytest.mark.parametrize("inner", [{"probs": [0.3, 0.7]}, {"logits": [0.0, 1.0]}])
@pytest.mark.parametrize("outer", [{"probs": [0.6, 0.4]}, {"logits": [0.5, 0.0]}])
def test_a_mixture_within_a_mixture_has_no_pole(inner, outer):
    """E log q(z) of a normal z, with a Student's t beside a mixture of normals."""
    def weights(form):
        return np.array(form["probs"]) if "probs" in form else softmax(form["logits"])

    g = scg.Graph("nested")
    a, z = g.param("a"), g.sample("z", scg.Normal(g.param("m"), 1.0))
    q = scg.Mixture([scg.Normal(a, 0.5), scg.Normal(1.0, 2.0)], **inner)
    g.cost("c", scg.Mixture([scg.StudentT(4.0, a, 1.0), q], **outer).log_prob(z))
    f = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
    r = f({"a": 0.3, "m": 0.2}, samples=10_000, rng=0)
    (v, w), x = (weights(inner), weights(outer)), 0.2 + POINTS

    def value(a, x):
        normals = v[0] * stats.norm.pdf(x, a, 0.5) + v[1] * stats.norm.pdf(x, 1.0, 2.0)
        return WEIGHTS @ np.log(w[0] * stats.t.pdf(x, 4.0, a, 1.0) + w[1] * normals)

    h = 1e-4
    near(r, "a", (value(0.3 + h, x) - value(0.3 - h, x)) / (2 * h))
    near(r, "m", (value(0.3, x + h) - value(0.3, x - h)) / (2 * h))


@pytest.mark.parametrize("weights", [lambda z: [z, 1.0 - z, 0.5], lambda z: [z**2, 1.0, 1.0], lambda z: [z, 0.0, 1.0]])
def test_weights_that_pass_0_are_a_pole(weights):
    g = scg.Graph("pole")
    z = g.sample("z", scg.Normal(g.param("m"), 1.0))
    g.cost("c", np.tanh(scg.Categorical(probs=scg.stack([w + 0.0 * z for w in weights(z)])).log_prob(g.data("y"))))
    with pytest.raises(scg.SCGError, match=r"(touch|pass)es 0"):
        scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
