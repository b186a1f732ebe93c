"""A draw is made of the noise that its sampler is given, and a family says the same whenever it is asked."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.extend import Distribution, Support, positive, positive_numbers, uniform
from scg.ir.constraints import zero_or_one

pytestmark = pytest.mark.usefixtures("registry")


RIGHT = {
    "log_prob": lambda x, rate: scg.log(rate) - rate * x, "sample": lambda noise, rate: -scg.log(uniform(noise)) / rate}
WITHOUT = {"a number of NumPy": lambda noise, rate: np.random.exponential() / rate,
           "the mean": lambda noise, rate: 1.0 / rate, "a literal": lambda noise, rate: 1.0}
CHANGING = {"beside the noise": lambda noise, rate: (uniform(noise) + np.random.exponential()) / rate,
            "in its scale": lambda noise, rate: uniform(noise) * np.random.normal() / rate}


def custom(rate, **functions):
    return scg.Custom({"rate": rate}, support=positive_numbers, constraints={"rate": positive}, **functions)


def family(cases=({"rate": 1.0},), **functions):
    """A class of the same functions."""
    return type("Own", (Distribution,), {
        "parameters": {"rate": positive}, "support": positive_numbers, "cases": list(cases),
        **{name: lambda self, x, f=f: f(x, self.rate) for name, f in functions.items()}})


@pytest.mark.parametrize("draw", WITHOUT.values(), ids=WITHOUT)
def test_a_draw_without_noise_is_refused(draw):
    """It would be drawn once, while the graph is compiled: of a class with and without cases, and of `Custom`."""
    for functions in ({**RIGHT, "sample": draw}, {**RIGHT, "reparameterise": draw}):
        with pytest.raises(scg.DeclarationError, match="not made of its noise"):
            family(**functions)
        g = scg.Graph("late")
        g.cost("c", g.sample("x", family(cases=(), **functions)(scg.exp(g.param("a")))))
        with pytest.raises(scg.DeclarationError, match="not made of its noise"):
            scg.compile(g, backend="numpy")
    for name in ("sample", "path"):
        with pytest.raises(scg.DeclarationError, match="not made of its noise"):
            custom(2.0, **{**RIGHT, name: draw})
    mixed = scg.Mixture([family(cases=(), **{**RIGHT, "sample": draw})(2.0), scg.Exponential(1.0)], probs=[0.5, 0.5])
    with pytest.raises(scg.DeclarationError, match="not made of its noise"):
        mixed.sample(scg.Graph("mixed").sample("x", scg.Normal(0.0, 1.0)).args[-1])


@pytest.mark.parametrize("draw", CHANGING.values(), ids=CHANGING)
def test_random_numbers_of_its_own_are_refused(draw):
    with pytest.raises(scg.DeclarationError, match="sample returned two different formulas"):
        family(**{**RIGHT, "sample": draw})
    with pytest.raises(scg.DeclarationError, match="two different formulas"):
        custom(2.0, **{**RIGHT, "path": draw})


def test_a_density_with_random_numbers_is_refused():
    def noisy(x, rate):
        return RIGHT["log_prob"](x, rate) + np.random.normal()

    for make in (family, lambda **functions: custom(2.0, **functions)):
        with pytest.raises(scg.DeclarationError, match="log_prob returned two different formulas"):
            make(**{**RIGHT, "log_prob": noisy})


def test_latent_variables_are_made_of_noise():
    """REBAR's z̃ is drawn given x: one that is made of x alone is not."""
    own = {"parameters": {"logits": scg.extend.real}, "support": zero_or_one, "cases": [{"logits": 0.3}],
           "log_prob": lambda self, x: x * self.logits - scg.softplus(self.logits),
           "sample": lambda self, noise: scg.where(uniform(noise) < scg.sigmoid(self.logits), 1.0, 0.0),
           "latent_given": lambda self, x, noise: x - 0.5}
    with pytest.raises(scg.DeclarationError, match="latent_given returned a value that is not made of its noise"):
        type("Coin", (Distribution,), own)


def test_a_point_in_a_mixture_needs_no_noise():
    """Counts of which a share is 0 for certain: E x² = (1 − w)(r + r²)."""
    zero = scg.Custom({}, support=Support("0", integral=True, low=0.0, high=0.0, open=False),
                      log_prob=lambda x: 0.0 * x, sample=lambda noise: 0.0)
    g = scg.Graph("zeros")
    share = scg.sigmoid(g.param("a"))
    x = g.sample("x", scg.Mixture([zero, scg.Poisson(3.0)], probs=scg.stack([share, 1.0 - share])))
    g.cost("c", x**2)
    r = scg.compile(g, backend="numpy")({"a": 0.3}, samples=20_000, rng=0)
    w = 1.0 / (1.0 + np.exp(-0.3))
    assert abs(r.cost - 12.0 * (1.0 - w)) < 5.0 * r.cost_stderr
    assert abs(r.grad["a"] + 12.0 * w * (1.0 - w)) < 5.0 * r.stderr["a"]


# --- what is scored and never drawn ----------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [
    lambda rate: custom(rate, log_prob=RIGHT["log_prob"]),
    lambda rate: family(log_prob=RIGHT["log_prob"])(rate),
    lambda rate: scg.Mixture([custom(rate, log_prob=RIGHT["log_prob"])] * 2, probs=[0.3, 0.7])],
    ids=["Custom", "class", "Mixture"])
def test_a_density_without_a_sampler_scores_data(make):
    """−log p of the data, whose gradient is that of Exponential; a site of it is refused where it is declared."""
    def found(p):
        g = scg.Graph("scored")
        y, z = g.data("y"), g.sample("z", scg.Normal(g.param("m"), 0.3))
        g.cost("nll", -p(scg.exp(z)).log_prob(y))
        return scg.compile(g, backend="numpy")({"m": 0.2, "y": np.array([0.7, 2.0])}, samples=200, rng=0)

    one, other = found(make), found(scg.Exponential)
    assert one.cost == pytest.approx(other.cost) and one.grad["m"] == pytest.approx(other.grad["m"])
    g = scg.Graph("drawn")
    with pytest.raises(scg.DeclarationError, match=r'Site "x".*Nothing says how it is drawn'):
        g.sample("x", make(scg.exp(g.param("a"))))


def test_a_density_without_a_sampler_is_a_prior():
    """E log q(z) − log p(z) of z ~ q = Exponential(r), p = Exponential(2): the divergence log(r/2) + 2/r − 1."""
    g = scg.Graph("prior")
    r = scg.exp(g.param("a"))
    q = scg.Exponential(r)
    z = g.sample("z", q)
    g.cost("kl", q.log_prob(z) - custom(2.0, log_prob=RIGHT["log_prob"]).log_prob(z))
    found = scg.compile(g, backend="numpy")({"a": 0.3}, samples=20_000, rng=0)
    assert abs(found.cost - (0.3 - np.log(2.0) + 2.0 * np.exp(-0.3) - 1.0)) < 5.0 * found.cost_stderr
    assert abs(found.grad["a"] - (1.0 - 2.0 * np.exp(-0.3))) < 5.0 * found.stderr["a"]


# --- what a class forgets --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["parameters", "support"])
@pytest.mark.parametrize("cases", [(), ({"rate": 1.0},)])
def test_a_class_that_forgets_what_it_holds_is_told(what, cases):
    own = {"parameters": {"rate": positive}, "support": positive_numbers, "cases": list(cases),
           **{name: lambda self, x, f=f: f(x, self.rate) for name, f in RIGHT.items()}}
    del own[what]
    with pytest.raises(scg.DeclarationError, match=f"does not say what its {what} .*Write {what} ="):
        type("Forgetful", (Distribution,), own)(*([1.0] if what == "support" else []))


def test_a_family_that_no_estimator_fits_is_told_what_it_lacks():
    g = scg.Graph("misspelt")
    g.cost("c", g.sample("x", family(sample=RIGHT["sample"], logprob=RIGHT["log_prob"])(scg.exp(g.param("a")))))
    with pytest.raises(scg.EstimatorError, match=r"no log-probability.*give the family log_prob"):
        scg.compile(g, backend="numpy")


@pytest.mark.parametrize("wrong", [
    {"log_prob": lambda rate, x: rate * x}, {"log_prob": lambda x: x}, {"sample": lambda rate, noise: uniform(noise)},
    {"path": lambda rate: rate}, {"mean": lambda x, rate: rate}, {"draw_derivative": lambda rate, x: {"rate": x}}],
    ids=lambda wrong: "-".join(wrong))
def test_functions_that_take_other_arguments_are_told(wrong):
    (name,) = wrong
    with pytest.raises(scg.DeclarationError, match=f"{name}=.*given the parameters by name"):
        custom(2.0, **{**RIGHT, **wrong})
