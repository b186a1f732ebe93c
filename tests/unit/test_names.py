"""Users' names are only names: whatever they are, they mean nothing to the parts that use names of their own."""

import numpy as np
import pytest

import scg

SAMPLES = 40_000


# --- streams of replays ----------------------------------------------------------------------------------------------
def _replayed(other: str, noise: str) -> scg.Graph:
    """E[zy + z²] at loc t, whose gradient is 2t; `other` names y, which replays of z must leave independent of it."""
    g = scg.Graph()
    z = g.sample("z", scg.Normal(loc=g.param("t"), scale=1.0), estimator=scg.WeakDerivative(noise=noise))
    y = g.sample(other, scg.Normal(loc=0.0 * z, scale=1.0) if noise == "fresh" else scg.Normal(loc=0.0, scale=1.0))
    g.cost("c", z * y + z * z)
    return g


@pytest.mark.parametrize("noise", ["common", "fresh"])
@pytest.mark.parametrize("other", ["z/weak derivative 0", "z/weak derivative 0+", "z'", "other"])
def test_no_site_shares_the_noise_of_a_replay(other, noise):
    r = scg.compile(_replayed(other, noise), backend="numpy")({"t": 0.5}, samples=SAMPLES, rng=0)
    assert abs(r.grad["t"] - 1.0) < 5 * r.stderr["t"]


def test_paths_of_replays_are_no_names():
    layout = scg.compile(_replayed("other", "fresh"), backend="numpy")._layout
    assert {path for path in layout.paths if path.isprintable()} == {"z", "other"}
    assert len(layout.paths) > 2


# --- state -----------------------------------------------------------------------------------------------------------
STATE = "b moving average"


def _averaged(param: str) -> scg.Graph:
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param(param)),
                 estimator=scg.ScoreFunction(baseline=scg.MovingAverage()))
    g.cost("c", 3.0 * (b - 0.45) ** 2)
    return g


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_param_is_not_a_state_of_its_name(backend):
    plain, named = (scg.compile(_averaged(name), backend=backend) for name in ("t", STATE))
    a, b = (f({name: 0.7}, samples=1000, rng=0, state={STATE: 2.0}) for f, name in ((plain, "t"), (named, STATE)))
    assert (a.cost, a.grad["t"], a.state[STATE]) == (b.cost, b.grad[STATE], b.state[STATE])
    assert scg.verify(named, {STATE: 0.7}).passed


# --- numbers of the interpreter --------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_param_is_not_a_number_of_the_interpreter(shape):
    def estimate(name: str):
        g = scg.Graph()
        x = g.sample("b", scg.Bernoulli(logits=np.sum(g.param(name, shape)) + g.data("d")))
        g.cost("c", x)
        values = {name: np.ones(shape), "d": np.arange(3.0)}
        return scg.compile(g, backend="numpy")(values, samples=100, rng=0).grad[name]

    np.testing.assert_array_equal(estimate("first row"), estimate("p"))


@pytest.mark.parametrize("technology", ["numpy", "numba"])
def test_a_param_is_not_a_stream_of_its_name(technology):
    """The site "h[1]" draws the words of the path "h"; under fed noise a leaf has that name beside the param."""
    from scg.derivation import derive
    from scg.expectation import expected_by_kernel

    g = scg.Graph()
    h = g.param("h")
    g.cost("c", (g.sample("h[1]", scg.Bernoulli(logits=h)) - 0.45) ** 2)
    found = expected_by_kernel(derive(g), {"h": 0.3}, technology)
    np.testing.assert_allclose(found.grad["h"], scg.exact(g, {"h": 0.3}).grad["h"], rtol=1e-12)
