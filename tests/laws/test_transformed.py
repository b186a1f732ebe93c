"""Draws that are mapped: densities are changed by the slope, and what moves in the map is differentiated."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from scipy import integrate, special, stats

import scg
from scg.laws import families
from scg.laws.check import _at_numbers
from tests.laws.checks.sampling import within

CASES = {
    "shifted": lambda: scg.Transformed(scg.Exponential(2.0), lambda x: 1.5 + x),
    "turned": lambda: scg.Transformed(scg.Normal(0.3, 0.8), lambda x: 2.0 - 0.7 * x),
    "exp": lambda: scg.Transformed(scg.Normal(0.3, 0.8), np.exp),
    "root": lambda: scg.Transformed(scg.Gamma(3.5, 2.0), lambda x: np.sqrt(x) / 2.0 + 1.0),
    "over": lambda: scg.Transformed(scg.Uniform(0.5, 1.0), lambda x: 3.0 / x),
    "twice": lambda: scg.Transformed(scg.Transformed(scg.Normal(0.2, 1.1), lambda x: 0.5 * x), scg.sigmoid),
    "power": lambda: scg.Transformed(scg.Exponential(1.0), lambda x: -(x**1.5))}
LAWS = {"density": families.check_normalised, "moments": families.check_moments, "score": families.check_score,
        "sampler": families.check_sampler, "path": families.check_path,
        "weak": lambda *at: families.check_weak_derivative(*at, coupled=True)}


@pytest.mark.parametrize("case, law", [(case, law) for case, law in itertools.product(CASES, LAWS)
                                       if case != "root" or law not in ("weak", "path")])  # see its gradients below
def test_a_mapped_family_has_the_laws_of_families(case, law):
    family, at = _at_numbers(CASES[case]())
    LAWS[law](family, at)


def value(node) -> np.ndarray:
    return families.compute([node])[0][0]


def test_densities_are_those_of_the_literature():
    x = np.array([0.2, 1.0, 3.7])
    pairs = [
        (scg.Transformed(scg.Normal(0.3, 0.8), np.exp), stats.lognorm(0.8, scale=np.exp(0.3))),
        (scg.Transformed(scg.Exponential(2.0), lambda x: 0.1 + x), stats.expon(0.1, 0.5)),
        (scg.Transformed(scg.Exponential(1.0), lambda x: 2.0 * x ** (1.0 / 1.7)), stats.weibull_min(1.7, scale=2.0)),
        (scg.Transformed(scg.Gamma(2.5, 1.3), lambda x: 1.0 / x), stats.invgamma(2.5, scale=1.3)),
        (scg.Transformed(scg.Exponential(1.0), lambda x: 4.0 - np.log(x)), stats.gumbel_r(4.0))]
    for dist, known in pairs:
        np.testing.assert_allclose(value(dist.log_prob(x)), known.logpdf(x), rtol=1e-12)
    assert value(scg.Transformed(scg.Exponential(2.0), lambda x: 0.3 + x).log_prob(scg.stack([0.2, 0.4])))[0] == -np.inf


@pytest.mark.parametrize("power, loc", [(3, 0.3), (5, -0.8), (1, 0.3)])
def test_an_odd_power_has_an_inverse_below_0_too(power, loc):
    """The density is that of the literature, on both sides of the draw 0, and a call's gradients are those of
    quadrature over the draw."""
    made = lambda m: scg.Transformed(scg.Normal(m, 0.8), lambda x: x**power)
    y = np.array([-40.0, -1.3, -0.02, 0.1, 2.5])
    x = np.sign(y) * np.abs(y) ** (1.0 / power)
    slope = power * x ** (power - 1)
    np.testing.assert_allclose(value(made(loc).log_prob(y)), stats.norm(loc, 0.8).logpdf(x) - np.log(slope), rtol=1e-12)

    def cost(m: float) -> float:
        return integrate.quad(lambda x: np.tanh(0.4 * x**power) * stats.norm(m, 0.8).pdf(x), -9.0, 9.0)[0]

    g = scg.Graph("odd power")
    g.cost("c", np.tanh(0.4 * g.sample("y", made(g.param("m")))))
    right = (cost(loc + 1e-4) - cost(loc - 1e-4)) / 2e-4
    for rule in RULES.values():
        r = scg.compile(g, strategy=rule, backend="numpy")({"m": loc}, samples=8000, rng=2)
        within(r.grad["m"], r.stderr["m"], right, str(rule))


# --- gradients -------------------------------------------------------------------------------------------------------
GRAPHS = {
    "stretched normal": (lambda s, a: scg.Transformed(scg.Normal(0.0, 1.0), lambda x: s + scg.exp(a) * x), "PSW"),
    "log-normal": (lambda s, a: scg.Transformed(scg.Normal(s, 0.5 * scg.exp(a)), np.exp), "PSW"),
    "shifted waiting time": (lambda s, a: scg.Transformed(scg.Exponential(scg.exp(a)), lambda x: s + x), "PW"),
    "what a waiting time leaves": (
        lambda s, a: scg.Transformed(scg.Exponential(1.0), lambda x: s - scg.exp(a) * x), "PW"),
    "what a demand leaves": (lambda s, a: scg.Transformed(scg.Gamma(3.0, scg.exp(a)), lambda x: s - x), "PSW"),
    "an interval": (lambda s, a: scg.Transformed(scg.Uniform(0.0, 1.0), lambda x: s + scg.exp(a) * x), "PW")}
RULES = {"P": scg.Pathwise(), "S": scg.ScoreFunction(), "W": scg.WeakDerivative()}
AT = {"s": 0.4, "a": 0.3}


def mapped(name: str) -> scg.Graph:
    g = scg.Graph(name)
    x = g.sample("x", GRAPHS[name][0](g.param("s"), g.param("a")))
    g.cost("c", np.tanh(0.5 * x) + 0.1 * x)
    return g


@pytest.mark.parametrize("name", GRAPHS)
def test_what_moves_in_a_map_is_differentiated(name):
    """By each rule that is right there, against the exact gradient; the others are refused."""
    g = mapped(name)
    exact = scg.exact(g, AT)
    for letter, rule in RULES.items():
        if letter not in GRAPHS[name][1]:
            with pytest.raises(scg.EstimatorError, match=r"the shift s in its map.*: .* moving bound"):
                scg.compile(g, strategy=rule, backend="numpy")
            continue
        f = scg.compile(g, strategy=rule, backend="numpy")
        r = f(AT, samples=8000, rng=2)
        assert f.verdict["x"].status == "unbiased"
        for param in AT:
            if r.stderr[param] > 1e-12:
                within(r.grad[param], r.stderr[param], exact.grad[param], f"{rule} in {param}")
            else:  # of an interval that is shifted, the two values are its ends
                assert r.grad[param] == pytest.approx(exact.grad[param], rel=1e-9)


STILL = {
    "the whole line": (lambda b: scg.Transformed(scg.Beta(2.0, 1.5), lambda x: 0.3 - b * scg.log(1.0 / x - 1.0)),
                       special.digamma(2.0) - special.digamma(1.5)),
    "waiting times": (lambda b: scg.Transformed(scg.Uniform(0.0, 1.0), lambda u: -(b * scg.log(u))), 1.0)}


@pytest.mark.parametrize("name", STILL)
def test_a_support_whose_ends_a_map_takes_to_infinity_or_0_does_not_move(name):
    """The score is whole there, whatever moves in the map; the means are those of the literature."""
    g = scg.Graph(name)
    family, slope = STILL[name]
    g.cost("mean", g.sample("x", family(g.param("b"))))
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert f.verdict["x"].status == "unbiased"
    r = f({"b": 1.3}, samples=8000, rng=2)
    within(r.grad["b"], r.stderr["b"], slope, name)


KUMARASWAMY = {
    "uniform": lambda a, b: scg.Transformed(scg.Uniform(0.0, 1.0), lambda u: (1.0 - u ** (1.0 / b)) ** (1.0 / a)),
    "beta": lambda a, b: scg.Transformed(scg.Beta(1.0, b), lambda v: v ** (1.0 / a)),
    "expm1": lambda a, b: scg.Transformed(scg.Exponential(b), lambda e: (-np.expm1(-e)) ** (1.0 / a)),
    "exp": lambda a, b: scg.Transformed(scg.Exponential(b), lambda e: (1.0 - np.exp(-e)) ** (1.0 / a))}


def kumaraswamy(x, a, b):
    return np.log(a * b) + (a - 1.0) * np.log(x) + (b - 1.0) * np.log1p(-(x**a))


OF_DATA = {
    "logistic": (lambda a, b: scg.Transformed(scg.Uniform(0.0, 1.0), lambda u: a - b * np.log(1.0 / u - 1.0)),
                 lambda x, a, b: stats.logistic.logpdf(x, a, b)),
    "weibull": (lambda a, b: scg.Transformed(scg.Exponential(1.0), lambda e: b * e ** (1.0 / a)),
                lambda x, a, b: stats.weibull_min.logpdf(x, a, scale=b)),
    **{f"kumaraswamy, {name}": (made, kumaraswamy) for name, made in KUMARASWAMY.items()}}


def test_densities_of_data_move_where_their_ends_stay():
    """The ends are infinite, or where no parameter moves them: the slopes are those of the literature's formulas, and
    what is outside is left out by a choice."""
    x, at, h = np.array([0.2, 0.7]), {"a": 1.3, "b": 0.8}, 1e-5
    g = scg.Graph("data")
    params = [g.param(name) for name in at]
    y = g.data("x")
    for name, (made, _) in OF_DATA.items():
        g.cost(name, scg.where(y < 1.0, made(*params).log_prob(y), 0.0))
    f = scg.compile(g, backend="numpy")
    r = f({**at, "x": np.array([*x, 1.5])}, samples=1)
    for name, (_, known) in OF_DATA.items():
        assert r.costs[name] == pytest.approx(known(x, **at).sum() / 3.0, rel=1e-12), name
    for param in at:
        up, down = ({**at, param: at[param] + step} for step in (h, -h))
        right = sum((known(x, **up) - known(x, **down)).sum() for _, known in OF_DATA.values()) / (6.0 * h)
        assert r.grad[param] == pytest.approx(right, rel=1e-7)


@pytest.mark.parametrize("name", KUMARASWAMY)
def test_entropies_by_own_draws_of_what_ends_at_0_and_1(name):
    """Against the closed form, −(1 − 1/b) − (1 − 1/a) (ψ(b + 1) + γ) + log ab (Jones 2009), of log p."""
    g = scg.Graph("entropy")
    law = KUMARASWAMY[name](scg.exp(g.param("log a")), scg.exp(g.param("log b")))
    g.cost("h", law.log_prob(g.sample("v", law)))
    a, b = 1.3, 0.8
    at = {"log a": np.log(a), "log b": np.log(b)}
    r = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")(at, samples=8000, rng=2)
    slope = 1.0 - 1.0 / b - (1.0 - 1.0 / a) * b * special.polygamma(1, b + 1.0)
    within(r.grad["log a"], r.stderr["log a"], 1.0 - (special.digamma(b + 1.0) + np.euler_gamma) / a, name)
    within(r.grad["log b"], r.stderr["log b"], slope, name)


FREE = {  # maps with bare params in them, and E log p but for what does not move
    "scaled sigmoid": (lambda m, s: scg.Transformed(scg.Normal(m, 1.0), lambda z: s * scg.sigmoid(z)),
                       lambda m, s: -np.log(s) + normal_mean(m, lambda z: z + 2.0 * np.log1p(np.exp(-z)))),
    "shifted tanh": (lambda m, s: scg.Transformed(scg.Normal(m, 1.0), lambda z: m + np.tanh(z) / s),
                     lambda m, s: np.log(s) + normal_mean(m, lambda z: 2.0 * np.log(np.cosh(z)))),
    "scaled root": (lambda m, s: scg.Transformed(scg.Exponential(m), lambda e: s * np.sqrt(1.0 - np.exp(-e))),
                    lambda m, s: np.log(m / s) + 1.0 / m - 0.5 * special.digamma(m + 1.0)),
    "scaled beta": (lambda m, s: scg.Transformed(scg.Beta(0.7, m), lambda v: s * v),
                    lambda m, s: -np.log(s) - stats.beta(0.7, m).entropy()),
    "kumaraswamy": (lambda m, s: KUMARASWAMY["beta"](s, m), lambda m, s: np.log(m * s) + 1.0 / m - (
        1.0 - 1.0 / s) * (special.digamma(m + 1.0) + np.euler_gamma))}


def normal_mean(m, f):
    return integrate.quad(lambda z: f(z) * stats.norm(m, 1.0).pdf(z), m - 9.0, m + 9.0)[0]


@pytest.mark.parametrize("name", FREE)
def test_what_an_own_draw_was_made_of_lies_where_the_map_took_it_from(name):
    """Whatever moves beside the draw in the map: no pole is met, and the slopes are those of quadrature."""
    made, known = FREE[name]
    at, h = {"m": 0.8, "s": 1.3}, 1e-4
    g = scg.Graph("free")
    law = made(g.param("m"), g.param("s"))
    g.cost("h", law.log_prob(g.sample("v", law)))
    r = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")(at, samples=8000, rng=2)
    for param in at:
        up, down = ({**at, param: at[param] + step} for step in (h, -h))
        right = (known(**up) - known(**down)) / (2.0 * h)
        if r.stderr[param] > 1e-12:
            within(r.grad[param], r.stderr[param], right, f"{name} in {param}")
        else:
            assert r.grad[param] == pytest.approx(right, rel=1e-6)


def test_of_another_value_the_map_tells_nothing():
    g = scg.Graph("another")
    law = FREE["scaled sigmoid"][0](g.param("m"), g.param("s"))
    g.cost("h", law.log_prob(0.5 * g.sample("v", law)))
    with pytest.raises(scg.SCGError, match="which jumps"):
        scg.compile(g, strategy=scg.Pathwise(), backend="numpy")


@pytest.mark.parametrize("made", [
    lambda m, s: scg.Transformed(scg.Exponential(1.0), lambda e: m + e),
    lambda m, s: scg.Transformed(scg.Normal(m, 1.0), lambda z: s * scg.sigmoid(z)),
    lambda m, s: scg.Transformed(scg.Uniform(0.0, 1.0), lambda u: m - s * np.log(1.0 / u - 0.5)),
    lambda m, s: scg.Transformed(scg.Uniform(0.0, m), lambda u: u**2),
    lambda m, s: scg.Transformed(scg.Beta(1.0, s), lambda v: s * v ** (1.0 / m))])
def test_densities_of_data_whose_ends_move_are_refused(made):
    g = scg.Graph("ends")
    g.cost("c", made(scg.exp(g.param("m")), scg.exp(g.param("s"))).log_prob(g.data("x")))
    with pytest.raises(scg.ConditionError, match="a log-density of Transformed, which ends"):
        scg.compile(g, backend="numpy")


def test_an_end_that_a_map_moves_is_named():
    """Of −b log(u) that from 1 stays at 0; if u ends at 0.9, it does not."""
    g = scg.Graph("moves")
    b = g.param("b")
    g.cost("mean", g.sample("x", scg.Transformed(scg.Uniform(0.0, 0.9), lambda u: -(b * scg.log(u)))))
    with pytest.raises(scg.EstimatorError, match=r"the factor b in its map depends on what is differentiated"):
        scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")


def test_exact_values_where_a_map_moves_the_support():
    """Of three quarters of a gamma variable below a level, against quadrature of the density."""
    g = mapped("what a demand leaves")

    def cost(s: float, a: float) -> float:
        demand = stats.gamma(3.0, scale=np.exp(-a))
        return integrate.quad(lambda d: (np.tanh(0.5 * (s - d)) + 0.1 * (s - d)) * demand.pdf(d), 0.0, np.inf)[0]

    found, h = scg.exact(g, AT), 1e-4
    assert found.cost == pytest.approx(cost(**AT), rel=1e-7)
    for name, v in AT.items():
        slope = (cost(**{**AT, name: v + h}) - cost(**{**AT, name: v - h})) / (2.0 * h)
        assert found.grad[name] == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("rule", [scg.ScoreFunction(), scg.WeakDerivative()], ids=str)
def test_a_threshold_is_smoothed_by_a_demand(rule):
    """∂/∂S P(S < D) is minus the density of the demand at S; the path would say 0, and is refused."""
    g = scg.Graph("threshold")
    level = g.param("S")
    left = g.sample("left", scg.Transformed(scg.Gamma(3.0, 2.0), lambda demand: level - demand))
    g.cost("short", left < 0.0)
    r = scg.compile(g, strategy=rule, backend="numpy")({"S": 1.4}, samples=20_000, rng=0)
    within(r.grad["S"], r.stderr["S"], -stats.gamma(3.0, scale=0.5).pdf(1.4), str(rule))
    with pytest.raises(scg.EstimatorError, match=r"comparison.* jumps"):
        scg.compile(g, strategy=scg.Pathwise(), backend="numpy")


def test_scores_of_a_weak_shift_are_known_where_the_density_begins_at_zero():
    """Of a concentration that is no number, or too small, nothing is known."""
    for concentration in (1.0, scg.Graph("c").param("c")):
        dist = scg.Transformed(scg.Gamma(concentration, 1.0), lambda x: 2.0 + x)
        assert dist.support.moving == ("shift",)
    assert scg.Transformed(scg.Gamma(3.0, 1.0), lambda x: 2.0 + x).support.moving == ()
    assert scg.Transformed(scg.Gamma(3.0, 1.0), lambda x: 2.0 + x**5.0).support.moving == ("shift",)
    assert scg.Transformed(scg.Exponential(1.0), lambda x: 2.0 * x).support.moving == ()


# --- where it is used ------------------------------------------------------------------------------------------------
@pytest.mark.by_python()
def test_a_mapped_draw_in_a_loop_on_both_backends():
    """The level that a stock is filled up to is carried: its draws are level with those of the demand."""
    g = scg.Graph("stock")
    level, mean = g.param("S"), g.param("mean")

    def step(stock, _):
        stock = g.sample("stock", scg.Transformed(scg.Normal(mean, 1.0), lambda demand: stock - demand))
        g.cost("short", 0.1 * (stock < 0.5))
        return np.where(stock < 0.5, level, stock), None

    g.scan(step, level, length=4)
    at = {"S": 3.0, "mean": 1.2}
    found = [scg.compile(g, strategy=scg.ScoreFunction(), backend=backend)(at, samples=20, rng=3, record="stock")
             for backend in ("numpy", "numba")]
    for name in at:
        np.testing.assert_allclose(found[0].grad[name], found[1].grad[name], rtol=1e-9)
    np.testing.assert_allclose(found[0].record["stock"], found[1].record["stock"], atol=1e-12)
    assert "stock[t] ~ Transformed(Normal(loc=mean, scale=1), lambda x: " in str(g)


def test_a_mapped_draw_is_as_precise_as_its_noise():
    """The score of a draw about 1e8 is that of the standard one, and e^x of a large x takes no logarithm of it."""
    g = scg.Graph("far")
    x = g.sample("x", scg.Transformed(scg.Normal(0.0, 1.0), lambda z: 1e8 + g.param("a") + 1e-6 * z))
    g.cost("c", 0.0 * x + 1.0)
    r = scg.compile(g, strategy=scg.ScoreFunction(scg.Constant(0.0)), backend="numpy")({"a": 0.0}, samples=4000, rng=0)
    assert float(r.stderr["a"]) == pytest.approx(1e6 / np.sqrt(4000), rel=0.05)


def test_two_of_one_map_are_one_family():
    make = lambda s: scg.Transformed(scg.Normal(0.0, 1.0), lambda x: np.exp(s * x))
    assert make(2.0).family == make(3.0).family and make(2.0).family != CASES["exp"]().family
    assert pickle.loads(pickle.dumps(make(2.0).family)) == make(2.0).family


def test_how_a_map_reads():
    assert repr(CASES["turned"]()) == "Transformed(Normal(loc=0.3, scale=0.8), lambda x: 2 - 0.7 * x)"
    assert repr(scg.Transformed(scg.Normal(0.0, 1.0), lambda x: -2.0 * (x + 1.0))).endswith("-(2 * (x + 1)))")
    g = scg.Graph("read")
    a, b = g.param("a"), g.param("b")
    texts = {"x - (a - b)": lambda x: x - (a - b), "a - b - x": lambda x: (a - b) - x,
             "exp(x) * (a + b)": lambda x: np.exp(x) * (a + b), "(x + 1) / a": lambda x: (x + 1.0) / a}
    for text, formula in texts.items():
        assert repr(scg.Transformed(scg.Normal(0.0, 1.0), formula)).endswith(f"lambda x: {text})")
    f = scg.compile(mapped("log-normal"), backend="numpy")
    assert "exp(x)" in str(f.surrogate) and r"\mathrm{x} \mapsto \mathrm{exp}(\mathrm{x})" in f.surrogate.latex()


# --- what is refused -------------------------------------------------------------------------------------------------
Z, W, A = scg.Normal(0.0, 1.0), scg.Exponential(1.0), scg.Graph("refused").param("a")


@pytest.mark.parametrize("make, words", [
    (lambda: scg.Transformed(Z, lambda x: A * x + x), "stands in it in several places"),
    (lambda: scg.Transformed(Z, lambda x: 1.0), "not made of the draw"),
    (lambda: scg.Transformed(Z, abs), "abs has no inverse in x"),
    (lambda: scg.Transformed(Z, lambda x: 2.0**x), "pow has no inverse in x"),
    (lambda: scg.Transformed(Z, np.sqrt), "Of numbers below 0 that has no inverse"),
    (lambda: scg.Transformed(Z, lambda x: x**2), r"x\*\*2 in it"),
    (lambda: scg.Transformed(W, lambda x: np.log(A + x)), r"log\(a \+ x\) in it"),
    (lambda: scg.Transformed(W, lambda x: 0.0 * x), "must be positive"),
    (lambda: scg.Transformed(scg.Poisson(1.0), lambda x: 2.0 * x), "density of a mapped draw is that of a real number"),
    (lambda: scg.Transformed(scg.Dirichlet([1.0, 2.0]), lambda x: 2.0 * x), "that of a real number"),
    (lambda: scg.Transformed(Z, 3.0), "a distribution and a function"),
    (lambda: scg.Transformed(Z, np.exp).mean, "no parameter or capability of that name|has none")], ids=lambda p: (
        p if isinstance(p, str) else ""))
def test_what_a_map_is_refused(make, words):
    with pytest.raises(scg.SCGError, match=words):
        make()


def test_a_factor_that_is_not_positive_is_refused_when_it_is_given():
    g = scg.Graph("factor")
    g.cost("c", g.sample("x", scg.Transformed(Z, lambda x: g.param("a") * x)))
    with pytest.raises(scg.CallError, match=r"given factor = a\. It must be positive"):
        scg.compile(g, backend="numpy")({"a": -1.0})
