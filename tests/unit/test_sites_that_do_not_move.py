"""Where no derivative flows into a site's parameters, its estimator has nothing to do and nothing to ask for."""

import numpy as np
import pytest

import scg
from scg.distributions.distribution import FAMILIES, Distribution
from scg.ir.constraints import real, real_line
from scg.ops.randomness import uniform


@pytest.fixture
def shifted():
    """A family that can be drawn, and of which no more is known: m plus a uniform from −½ to ½."""

    class Shifted(Distribution):
        """m plus a uniform."""

        parameters = {"m": real}
        support = real_line

        def sample(self, noise):
            return self.m + uniform(noise) - 0.5

    yield Shifted
    del FAMILIES["Shifted"]


@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction(), scg.Pathwise(), scg.WeakDerivative(), scg.MuProp()],
                         ids=repr)
def test_a_site_whose_parameters_do_not_move_needs_no_density(strategy, shifted):
    g = scg.Graph("noise")
    t, x = g.param("t"), g.input("x")
    e = g.sample("e", shifted(m=x))
    g.cost("c", (t + e) ** 2)
    f = scg.compile(g, strategy=strategy, backend="numpy")
    assert f.verdict.unbiased and not f.verdict["e"].differentiated
    r = f({"t": 0.5, "x": 0.25}, samples=4000, rng=0)
    assert abs(r.grad["t"] - 2 * (0.5 + 0.25)) < 5 * r.stderr["t"]


def test_where_its_parameters_move_it_does(shifted):
    g = scg.Graph("moved")
    e = g.sample("e", shifted(m=g.param("t")))
    g.cost("c", e**2)
    with pytest.raises(scg.EstimatorError, match="has no log-probability"):
        scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")


@pytest.mark.parametrize("in_loop", [False, True])
def test_one_estimator_for_all_sites_is_asked_only_of_those_that_move(in_loop):
    """A fair coin beside a normal under Pathwise: E (z + t + b)² with z ~ N(t, 1): d/dt = 4 (2 t + ½)."""
    g = scg.Graph("both")
    t = g.param("t")

    def step(s, _):
        z, b = g.sample("z", scg.Normal(loc=t, scale=1.0)), g.sample("b", scg.Bernoulli(probs=0.5))
        g.cost("c", (z + t + b) ** 2)
        return s, None

    g.scan(step, 0.0, length=1) if in_loop else step(0.0, None)
    r = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")({"t": 0.3}, samples=4000, rng=0)
    assert abs(r.grad["t"] - 4 * (0.6 + 0.5)) < 5 * r.stderr["t"]


@pytest.mark.parametrize("given", ["logits", "probs"])
@pytest.mark.parametrize("shape", [(1,), (2, 1)])
def test_a_weak_derivative_of_what_has_one_value_is_zero(given, shape):
    g = scg.Graph("one value")
    w, t = g.param("w", shape), g.param("t")
    k = g.sample("k", scg.Categorical(**{given: w}))
    g.cost("c", t * (k.sum() + 1.0))
    for strategy in (scg.WeakDerivative(), scg.WeakDerivative(coupled=False, noise="fresh")):
        f = scg.compile(g, strategy=strategy, backend="numpy")
        r = f({"w": np.ones(shape), "t": 2.0}, samples=10, rng=0)
        assert f.verdict.unbiased and np.all(r.grad["w"] == 0.0) and r.grad["t"] == 1.0
        assert scg.verify(f, {"w": np.ones(shape), "t": 2.0}).passed
