"""The doubly reparameterised estimator: its definition in each replicate, its mean by quadrature, where it helps."""

from __future__ import annotations

import numpy as np
import pytest

import scg

VALUES = {"mu": 0.3, "s": -0.4, "t": 0.2, "x": np.array([0.7, -0.2])}


def weights(g, q, z):
    """log p(z) p(x | z) − log q(z) of normal variables, one for each sample."""
    return (scg.Normal(g.param("t"), 1.0).log_prob(z) + scg.Normal(z, 0.5).log_prob(g.data("x"))) - q.log_prob(z)


def bound(k=3):
    g = scg.Graph("bound")
    q = scg.Normal(g.param("mu"), scg.exp(g.param("s")))
    z = g.sample("z", q, shape=k, per_row=True)
    g.cost("bound", 2.0 - scg.logmeanexp(weights(g, q, z), axis=0), scale=1.5)
    return g


def by_hand(z, eps, x, doubly):
    """Gradients in mu, s and t at draws (…, K) and data (…, 1), doubly reparameterised or along one path."""
    mu, sd, t = VALUES["mu"], np.exp(VALUES["s"]), VALUES["t"]
    log_w = -0.5 * (z - t) ** 2 - 0.5 * ((x - z) / 0.5) ** 2 + 0.5 * ((z - mu) / sd) ** 2 + np.log(sd)
    w = np.exp(log_w - log_w.max(-1, keepdims=True))
    w = w / w.sum(-1, keepdims=True)
    slope = t - z + (x - z) / 0.25 + (z - mu) / sd**2
    direct = {"mu": -eps / sd, "s": 1.0 - eps**2}  # of −log q in its own parameters, at z
    path = {"mu": 1.0, "s": sd * eps}
    found = {name: (w**2 * slope * path[name] if doubly else w * (slope * path[name] + direct[name]))
             for name in path} | {"t": w * (z - t)}
    return {name: -1.5 * np.broadcast_to(g, z.shape).sum(-1) for name, g in found.items()}


def test_it_is_the_definition():
    r = scg.compile(bound(), strategy=scg.DReG(), backend="numpy")(VALUES, samples=50, rng=0, record="z")
    z = r.record["z"]
    expected = by_hand(z, (z - VALUES["mu"]) / np.exp(VALUES["s"]), VALUES["x"][:, None, None], doubly=True)
    for name, grad in expected.items():
        np.testing.assert_allclose(r.grad[name], grad.mean(), rtol=1e-10)


@pytest.mark.full
def test_in_kernels():
    f, reference = (scg.compile(bound(), strategy=scg.DReG(), backend=b) for b in ("numba", "numpy"))
    r, s = (h(VALUES, samples=50, rng=0) for h in (f, reference))
    for name in ("mu", "s", "t"):
        np.testing.assert_allclose(r.grad[name], s.grad[name], rtol=1e-10)


BOUNDS = {
    "mean": lambda log_w: -scg.logmeanexp(log_w, axis=1).mean(),
    "sum": lambda log_w: -scg.logmeanexp(log_w, axis=1).sum() / 2.0,
    "along the first axis": lambda log_w: -scg.logmeanexp(log_w.T, axis=0).mean(),
    "kept": lambda log_w: -scg.logmeanexp(log_w, axis=1, keepdims=True).mean(),
    "of sums over latents": lambda log_w: -scg.logmeanexp(log_w.reshape((2, 3, 1)).sum(axis=-1), axis=-1).mean(),
    "weighed": lambda log_w: -(np.array([0.2, 0.8]) * scg.logmeanexp(log_w, axis=1)).sum()}


@pytest.mark.parametrize("name", BOUNDS)
def test_several_bounds_in_one_array_are_each_one(name):
    """The definition for each bound of three draws, weighed as the cost weighs it."""
    g = scg.Graph("bounds")
    q = scg.Normal(g.param("mu"), scg.exp(g.param("s")))
    z = g.sample("z", q, shape=(2, 3), per_row=True)
    g.cost("bounds", BOUNDS[name](weights(g, q, z)), scale=1.5)
    f = scg.compile(g, strategy=scg.DReG(), backend="numpy")
    assert "a second path" in f.verdict["z"].reason
    r = f(VALUES, samples=20, rng=0, record="z")
    z = r.record["z"]
    eps = (z - VALUES["mu"]) / np.exp(VALUES["s"])
    each = by_hand(z, eps, VALUES["x"][:, None, None, None], doubly=True)
    share = np.array([0.2, 0.8]) if name == "weighed" else np.array([0.5, 0.5])
    for param, grad in each.items():
        np.testing.assert_allclose(r.grad[param], (grad @ share).mean(), rtol=1e-10)


def test_its_mean_is_the_gradient_of_the_bound_by_quadrature():
    """Over both draws' noise; and its variance is less than along one path."""
    eps = np.stack(np.meshgrid(*2 * [np.linspace(-9.0, 9.0, 200)]), axis=-1).reshape(-1, 2)
    p = np.exp(-0.5 * (eps**2).sum(-1))
    p /= p.sum()
    z, x = VALUES["mu"] + np.exp(VALUES["s"]) * eps, VALUES["x"][0]
    twice, once = (by_hand(z, eps, x, doubly) for doubly in (True, False))
    for name in twice:
        assert p @ twice[name] == pytest.approx(p @ once[name], rel=1e-9)
    for name in ("mu", "s"):
        assert p @ twice[name] ** 2 - (p @ twice[name]) ** 2 < 0.5 * (p @ once[name] ** 2 - (p @ once[name]) ** 2)


def test_of_one_sample_nothing_varies_where_the_guide_is_the_posterior():
    g = scg.Graph("posterior")
    x, m, s = g.data("x"), g.param("m"), g.param("s")
    q = scg.Normal(m * x, scg.exp(s))
    z = g.sample("z", q)
    g.cost("bound", q.log_prob(z) - scg.Normal(0.0, 1.0).log_prob(z) - scg.Normal(z, 1.0).log_prob(x))
    values = {"m": 0.5, "s": -0.5 * np.log(2.0), "x": np.array([0.3, -0.8])}
    twice, once = (scg.compile(g, strategy=e, backend="numpy")(values, samples=64, rng=0)
                   for e in (scg.DReG(), scg.Pathwise()))
    for name in ("m", "s"):
        assert abs(twice.grad[name]) < 1e-14 and twice.stderr[name] < 1e-14 < 1e-3 < once.stderr[name]


def several(g):
    """Two sites of one bound, of two numbers a sample, with a weight that is a param."""
    q = scg.Normal(g.param("mu", (2,)), scg.exp(g.param("s")))
    r = scg.Normal(g.param("nu"), 0.7)
    z, y = g.sample("z", q, shape=(4, 2)), g.sample("y", r, shape=4)
    log_w = (scg.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(axis=1) - r.log_prob(y) - (z[:, 0] - y) ** 2
    g.cost("bound", -g.param("c") * scg.logmeanexp(log_w))
    g.cost("other", (z**2).sum() + g.params["mu"].sum() ** 2)


def drawn_given_another(g):
    """The weights move with y by way of z too."""
    r = scg.Normal(g.param("nu"), 0.7)
    y = g.sample("y", r, shape=3)
    q = scg.Normal(5.0 * g.param("mu") * y, 0.8)
    z = g.sample("z", q)
    log_w = scg.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z) - r.log_prob(y) - 0.5 * (y - 0.3 * z) ** 2
    g.cost("bound", -scg.logmeanexp(log_w))


def tempered(g):
    """A weight that holds the density with another power, and another time as a cost."""
    q = scg.StudentT(5.0, g.param("mu"), scg.exp(g.param("s")))
    z = g.sample("z", q, shape=3)
    log_w = scg.Normal(0.0, 1.0).log_prob(z) - 0.7 * q.log_prob(z)
    g.cost("bound", 0.4 * q.log_prob(z).sum() - scg.logmeanexp(log_w))


@pytest.mark.parametrize("build, less", [(several, 0.9), (drawn_given_another, 0.9), (tempered, 0.9)])
def test_by_sampling(build, less):
    g = scg.Graph(build.__name__)
    build(g)
    values = {name: np.resize([0.3, -0.4], p.shape) for name, p in g.params.items()}
    once, twice = (scg.compile(g, strategy=e, backend="numpy")(values, samples=20_000, rng=seed)
                   for seed, e in enumerate((scg.Pathwise(), scg.DReG())))
    assert any(np.all(twice.stderr[name] < less * once.stderr[name]) for name in values)
    for name in values:
        error = np.sqrt(once.stderr[name] ** 2 + twice.stderr[name] ** 2)
        assert np.all(abs(once.grad[name] - twice.grad[name]) < 5.0 * error + 1e-12)


def no_density(g, q, z):
    g.cost("c", (z - 0.3) ** 2)


def curved(g, q, z):
    g.cost("c", q.log_prob(z) ** 2)


def joined(g, q, z):
    g.cost("c", -scg.logsumexp(z * z[::-1] - q.log_prob(z)))


def shared(g, q, z):
    """Each draw is in both bounds."""
    g.cost("c", -scg.logmeanexp(np.array([[1.0], [2.0]]) * z**2 - q.log_prob(z), axis=1).mean())


def moving_a_site(g, q, z):
    k = g.sample("k", scg.Bernoulli(logits=z))
    g.cost("c", -scg.logmeanexp(k - q.log_prob(z)))


@pytest.mark.parametrize("build", [no_density, curved, joined, shared, moving_a_site])
def test_what_is_no_such_bound_is_differentiated_along_the_path(build):
    g = scg.Graph(build.__name__)
    q = scg.Normal(g.param("mu"), scg.exp(g.param("s")))
    build(g, q, g.sample("z", q, shape=2))
    found = [scg.compile(g, strategy={"z": e}, backend="numpy")({"mu": 0.3, "s": 0.1}, samples=20, rng=0)
             for e in (scg.Pathwise(), scg.DReG())]
    for name in ("mu", "s"):
        np.testing.assert_array_equal(found[0].grad[name], found[1].grad[name])
    said = g.surrogate({"z": scg.DReG()}).derivation.verdicts["z"].reason
    why = {no_density: "no bound holds its density", curved: "", moving_a_site: "draws of their own"}
    assert f"{why.get(build, 'each made of draws of their own')}, so it is Pathwise() here" in said


def test_in_a_loop_it_is_one_path():
    g = scg.Graph("loop")
    mu = g.param("mu")
    g.cost("c", g.scan(lambda c, _: (c + g.sample("z", scg.Normal(mu, 1.0)), None), 0.0, length=3)[0] ** 2)
    found = [scg.compile(g, strategy=e, backend="numpy")({"mu": 0.3}, samples=20, rng=0).grad["mu"]
             for e in (scg.Pathwise(), scg.DReG())]
    assert found[0] == found[1]


def test_the_verdict_says_what_is_taken_twice():
    assert "a second path" in scg.compile(bound(), strategy=scg.DReG(), backend="numpy").verdict["z"].reason


@pytest.mark.parametrize("dist, why", [
    (lambda t: scg.Bernoulli(logits=t), "cannot differentiate"),
    (lambda t: scg.Uniform(0.0, scg.exp(t)), "moving bound")])
def test_where_it_cannot_be_used(dist, why):
    g = scg.Graph("refused")
    g.cost("c", g.sample("z", dist(g.param("t"))) ** 2)
    with pytest.raises(scg.EstimatorError, match=why):
        scg.compile(g, strategy=scg.DReG(), backend="numpy")
