"""log_prob over the registry against SciPy: inside, at ends, outside, fractions, NaN; what is proved costs nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import scg
from scg.derive import derive
from scg.distributions.distribution import FAMILIES as REGISTERED
from scg.ir.traverse import topological
from scg.laws import families as law
from scg.passes.outputs import program_of
from scg.simplification import simplified
from tests.laws.checks import shipped

FAMILIES = shipped(REGISTERED)
TRIED = np.array([-2.0, -1.0, -0.3, 0.0, 0.3, 0.999, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 7.0, 200.0, np.nan])


def _categorical(x, probs):
    p = np.asarray(probs) / np.sum(probs)
    k = np.where(np.isin(x, np.arange(len(p))), x, 0).astype(int)
    return np.where(np.isnan(x), np.nan, np.where(np.isin(x, np.arange(len(p))), np.log(p)[k], -np.inf))


def scipys(name, case, x):
    """The same by SciPy, or by NumPy where SciPy normalises otherwise."""
    with np.errstate(all="ignore"):
        match name:
            case "Bernoulli":
                p = case["probs"] if "probs" in case else 1 / (1 + np.exp(-case["logits"]))
                return _categorical(x, [1 - p, p])
            case "Categorical":
                return _categorical(x, case["probs"] if "probs" in case else np.exp(case["logits"]))
            case "Exponential":
                return stats.expon.logpdf(x, scale=1 / case["rate"])
            case "Gamma":
                return stats.gamma.logpdf(x, case["concentration"], scale=1 / case["rate"])
            case "Normal":
                return stats.norm.logpdf(x, case["loc"], case["scale"])
            case "Poisson":
                return np.where(np.isnan(x), np.nan, stats.poisson.logpmf(x, case["rate"]))
            case "Beta":
                return stats.beta.logpdf(x, case["concentration1"], case["concentration0"])
            case "StudentT":
                return stats.t.logpdf(x, case["df"], case["loc"], case["scale"])
            case "Uniform":
                return stats.uniform.logpdf(x, case["low"], case["high"] - case["low"])
    raise AssertionError(f"{name} is to be added here")


# those of vectors: test_contract_of_families
CASES = [pytest.param(name, case, id=f"{name}-{case}") for name, f in FAMILIES.items() for case in f.cases
         if not f.support.event_ndim]


@pytest.mark.parametrize("name, case", CASES)
def test_log_prob_everywhere(name, case):
    found = law.law_of(FAMILIES[name], case)
    x = law.Law(found.family, case, TRIED, TRIED).log_prob()
    np.testing.assert_allclose(x, scipys(name, case, TRIED), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name, case", [c for c in CASES if not FAMILIES[c.values[0]].support.everything])
def test_literals_outside_are_refused(name, case):
    inside = {"Gamma": [0.0], "Beta": [0.0, 1.0]}.get(name, [])  # ends belong to a support
    for v in TRIED[np.isneginf(scipys(name, case, TRIED)) & ~np.isin(TRIED, inside)]:
        with pytest.raises(scg.DeclarationError, match=rf"(?s){name}.*values"):
            FAMILIES[name](**case).log_prob(v)


@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_cost_that_is_infinite_names_family_value_row_and_support(backend):
    g = scg.Graph("labels")
    w, y = g.param("w", 3), g.data("y")
    g.cost("nll", -scg.Categorical(logits=w).log_prob(y))
    f = scg.compile(g, backend=backend)
    values = {"w": [0.1, 0.2, 0.3], "y": np.array([0.0, 2.0, 1.0])}
    p = np.exp(values["w"]) / np.exp(values["w"]).sum()
    np.testing.assert_allclose(f(values, rng=0).grad["w"], p - 1 / 3, atol=1e-12)
    with pytest.raises(scg.NonFiniteError, match=r"y = 3 \(row 1\) is −∞ under Categorical.*integers from 0 to 2"):
        f({**values, "y": np.array([0.0, 3.0, 1.0])}, rng=0)


def test_what_has_no_density_can_be_left_out():
    """exp(−∞) is 0, and a branch that is not taken has no say, in the derivative neither."""
    g = scg.Graph("out")
    t, y = g.param("t"), g.data("y")
    lp = scg.Gamma(concentration=2.0, rate=scg.exp(t)).log_prob(y)
    g.cost("c", np.exp(lp) + np.where(y > 0, lp, 0.0))
    r = scg.compile(g, backend="numpy")({"t": 0.0, "y": np.array([-1.0, 1.0])}, rng=0)
    assert r.cost == pytest.approx(0.5 * (np.exp(-1.0) - 1.0))
    assert r.grad["t"] == pytest.approx(0.5 * (np.exp(-1.0) + 1.0))


def _declared(make):
    g = scg.Graph("own")
    make(g, g.param("t"))
    return {n.op.name for o in simplified(program_of(derive(g, scg.ScoreFunction()), "float64", False)).outputs
            for n in topological([o.node])}


@pytest.mark.parametrize("make", [
    lambda g, t: g.cost("c", scg.Poisson(rate=2.0).log_prob(g.sample("k", scg.Poisson(rate=scg.exp(t))))),
    lambda g, t: g.cost("c", scg.Poisson(rate=2.0).log_prob(1.0 + g.sample("k", scg.Poisson(rate=scg.exp(t))))),
    lambda g, t: g.cost("c", scg.Exponential(rate=2.0).log_prob(g.sample("x", scg.Normal(loc=t, scale=1.0)) ** 2)),
    lambda g, t: g.cost("c", scg.Bernoulli(probs=0.3).log_prob(1.0 - g.sample("b", scg.Bernoulli(logits=t)))),
    lambda g, t: g.cost("c", (u := scg.Uniform(low=0.0, high=g.input("h"))).log_prob(
        g.sample("x", u, shape=3)[1:]).sum() * t),
    lambda g, t: g.cost("c", scg.Uniform(low=-0.5, high=1.5).log_prob(scg.sigmoid(t))),
])  # fmt: skip
def test_what_is_proved_to_be_inside_costs_nothing(make):
    assert "log_density" not in _declared(make)


def test_what_is_not_proved_is_asked():
    assert "log_density" in _declared(lambda g, t: g.cost(
        "c", scg.Exponential(rate=2.0).log_prob(g.sample("x", scg.Normal(loc=t, scale=1.0)))))


# --- masks -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mask, right", [([1.0, 1.0, 0.0], [0, 1]), ([0.0, 0.0, 1.0], [2])])
def test_masked_choices(mask, right):
    """Cost E[k²] and −entropy over the choices left; by enumeration, the gradient in what is masked 0."""
    g = scg.Graph("mask")
    w, m = g.param("w", 3), g.input("m", 3)
    d = scg.Categorical(logits=scg.where(m > 0.5, w, -np.inf))
    k = g.sample("k", d)
    g.cost("c", k ** 2)
    g.cost("h", -d.entropy())
    values = {"w": np.array([0.3, -0.2, 0.5]), "m": np.array(mask)}

    def cost(w):
        p = np.exp(w[right]) / np.exp(w[right]).sum()
        return p @ np.square(right) + p @ np.log(p)

    slope = [(cost(values["w"] + h) - cost(values["w"] - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
    exact = scg.exact(g, values)
    assert exact.cost == pytest.approx(cost(values["w"]), rel=1e-12)
    np.testing.assert_allclose(exact.grad["w"], slope, atol=1e-8)
    r = scg.compile(g, backend="numpy")(values, samples=20_000, rng=0)
    assert np.all(np.abs(r.grad["w"] - slope) <= 5 * r.stderr["w"] + 1e-9)
    with pytest.raises(scg.CallError, match="real one among them"):
        scg.compile(g, backend="numpy")({**values, "m": np.zeros(3)}, samples=4, rng=0)


def test_literal_masks():
    assert scg.Categorical(logits=[0.0, -np.inf]).size == 2
    for bad in ([0.0, np.inf], [0.0, np.nan], [-np.inf, -np.inf]):
        with pytest.raises(scg.DeclarationError, match="real one among them"):
            scg.Categorical(logits=bad)


def test_a_masked_logit_is_not_to_blame():
    """log(−1) is; the mask beside it is harmless."""
    g = scg.Graph("blame")
    w = g.param("w", 2)
    d = scg.Categorical(logits=scg.concatenate([w, [-np.inf]]))
    g.cost("c", 1.0 * g.sample("k", d) - d.entropy() + np.log(w[0]))
    with pytest.raises(scg.NonFiniteError, match="log: The estimate"):
        scg.compile(g, backend="numpy")({"w": [-1.0, 0.3]}, samples=10, rng=0)


# --- parts of draws of categories ------------------------------------------------------------------------------------
PARTS = {
    "element": lambda z: z[1], "slice": lambda z: z[1:], "backwards": lambda z: z[::-1], "transposed": lambda z: z.T,
    "column": lambda z: z[:, 1], "reshaped": lambda z: z.reshape(2, 5), "flat": lambda z: z.ravel(),
    "new dimension": lambda z: z[None], "stacked": lambda z: np.stack([z[0], z[3]]), "all": lambda z: z,
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("weights", ["one", "each", "of rows"])
def test_log_prob_of_parts_of_draws_of_categories(part, weights):
    """Of draws with weights of their own, or one for all: under a fixed distribution, and under their own."""
    shape = {"one": (3,), "each": (5, 2, 3), "of rows": (2, 3)}[weights]
    g = scg.Graph("parts")
    w = g.input("w", shape)
    z = g.sample("z", scg.Categorical(logits=w), shape=(5, 2))
    moved = PARTS[part]
    g.cost("prior", scg.Categorical(logits=np.array([0.1, 0.7, -0.4])).log_prob(moved(z)))
    g.cost("own", scg.Categorical(logits=w if weights == "one" else np.zeros(3)).log_prob(moved(z)))
    values = np.random.default_rng(0).normal(size=shape)
    r = scg.compile(g, backend="numpy")({"w": values}, samples=4, rng=0, record=("z",))
    for name, logits in (("prior", [0.1, 0.7, -0.4]), ("own", values if weights == "one" else np.zeros(3))):
        log_p = logits - np.log(np.sum(np.exp(logits)))
        right = np.mean([log_p[moved(k).astype(int)].sum() for k in r.record["z"][0]])
        assert r.costs[name] == pytest.approx(right, rel=1e-12)


def test_a_chain_of_mean_field_states():
    """log p of a hidden path, state by state, under a table of transitions: the bound of a mean-field HMM."""
    table = np.log(np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.1, 0.8]]))
    g = scg.Graph("hmm")
    z = g.sample("z", scg.Categorical(logits=g.param("phi", (4, 3))))
    T = g.node("T", table)
    g.cost("prior", scg.Categorical(logits=np.zeros(3)).log_prob(z[0])
           + sum(scg.Categorical(logits=T[z[t - 1]]).log_prob(z[t]) for t in range(1, 4)))  # fmt: skip
    r = scg.compile(g, backend="numpy")({"phi": np.zeros((4, 3))}, samples=20, rng=0, record=("z",))
    right = [-np.log(3.0) + sum(table[k[t - 1], k[t]] for t in range(1, 4)) for k in r.record["z"][0].astype(int)]
    assert r.costs["prior"] == pytest.approx(np.mean(right), rel=1e-12)


def test_log_prob_of_draws_that_do_not_fit_is_an_error_of_shapes():
    g = scg.Graph("misfit")
    k = g.sample("k", scg.Categorical(logits=g.param("w", (5, 3))))
    with pytest.raises(scg.ShapeError):
        scg.Categorical(logits=g.param("v", (2, 3))).log_prob(k)


@pytest.mark.parametrize("density, values", [
    (lambda m: scg.Gamma(3.0, 1.0).log_prob(m), "Gamma, which ends. .* the positive numbers"),
    (lambda m: scg.Exponential(1.0).log_prob(2.0 - m), "Exponential, which ends. .* the positive numbers"),
    (lambda m: scg.Beta(2.0, 3.0).log_prob(m), "Beta, which ends. .* the numbers from 0 to 1"),
    (lambda m: scg.Uniform(m, 2.0).log_prob(0.5), "Uniform, which ends. .* from low to high")])
def test_a_density_that_ends_is_no_comparison(density, values):
    """What the user wrote is named, and what works."""
    g = scg.Graph("moved")
    g.cost("c", density(g.param("m")))
    with pytest.raises(scg.ConditionError, match=rf"test_supports\.py:\d+.*{values}.*scg\.exp\(m\).*assume_continuous"):
        scg.compile(g, backend="numpy")


@pytest.mark.parametrize("written", [
    lambda m: scg.Gamma(3.0, 1.0).log_prob(scg.maximum(m, 1e-9)),
    lambda m: scg.assume_continuous(scg.Gamma(3.0, 1.0).log_prob(m)),
    lambda m: scg.Gamma(3.0, 1.0).log_prob(scg.exp(scg.log(m)))])
def test_what_is_advised_there_works(written):
    g = scg.Graph("advised")
    g.cost("c", written(g.param("m")))
    r = scg.compile(g, backend="numpy")({"m": 0.7}, samples=1)
    assert float(r.grad["m"]) == pytest.approx(2.0 / 0.7 - 1.0, rel=1e-12)
