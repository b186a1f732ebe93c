"""Layers are what they say, with params under their names."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import special, stats

import scg
from scg import nn


def value_of(g, node, values):
    """A node's value."""
    named = g.node("asked", node)
    assert named.shape == node.shape
    g.cost("c", 0.0 * node.sum())
    return scg.compile(g, backend="numpy")(values, record="asked").record["asked"][0, 0]


@pytest.mark.parametrize("shape", [(3,), (5, 3)])
@pytest.mark.parametrize("activation, function", [(scg.tanh, np.tanh), (scg.relu, lambda x: np.maximum(x, 0.0))])
def test_a_net_is_its_products(shape, activation, function):
    g = scg.Graph("net")
    y = nn.mlp(g, "net", g.input("x", shape), (4, 2), activation=activation)
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=node.shape) for name, node in g.params.items()}
    assert {name: v.shape for name, v in values.items()} == {
        "W_net_1": (3, 4), "b_net_1": (4,), "W_net_2": (4, 2), "b_net_2": (2,)}
    x = rng.normal(size=shape)
    hidden = function(x @ values["W_net_1"] + values["b_net_1"])
    expected = hidden @ values["W_net_2"] + values["b_net_2"]
    np.testing.assert_allclose(value_of(g, y, {**values, "x": x}), expected, rtol=1e-13)


def test_one_output_without_a_dimension_and_without_a_bias():
    g = scg.Graph("net")
    y = nn.dense(g, "out", np.array([1.0, 2.0, 3.0]), (), bias=False)
    assert y.shape == () and g.params.keys() == {"W_out"}
    np.testing.assert_allclose(value_of(g, y, {"W_out": [0.5, 1.0, -1.0]}), -0.5)


def test_a_layer_in_a_loop_has_one_set_of_params():
    g = scg.Graph("recurrent")
    step = lambda h, x: (scg.tanh(nn.dense(g, "step", scg.concatenate([h, x]), 2)), None)
    last, _ = g.scan(step, np.zeros(2), xs=np.ones((3, 1)))
    g.cost("c", last.sum())
    f = scg.compile(g, backend="numpy")
    start = f.init(0)
    assert {name: value.shape for name, value in start.items()} == {"W_step": (3, 2), "b_step": (2,)}
    h = np.zeros(2)
    for _ in range(3):
        h = np.tanh(np.concatenate([h, [1.0]]) @ start["W_step"] + start["b_step"])
    np.testing.assert_allclose(f(start).cost, h.sum(), rtol=1e-13)


def test_nodes_stand_at_the_users_line():
    g = scg.Graph("net")
    x = g.input("x", 3)
    with pytest.raises(scg.SCGError, match=r"test_nn\.py:\d+.*W_a"):
        nn.dense(g, "a", x, 2)
        nn.dense(g, "a", x, 2)


@pytest.mark.parametrize("init, variance", [(nn.glorot, 2.0 / 500), (nn.he, 2.0 / 300)])
def test_initial_values(init, variance):
    """The variances of the papers, within five standard errors of a sample of so many; biases are 0."""
    g = scg.Graph("net")
    g.cost("c", nn.dense(g, "a", g.input("x", 300), 200, init=init).sum())
    start = pickle.loads(pickle.dumps(scg.compile(g, backend="numpy").init(0)))
    w = start["W_a"]
    assert abs(w.var() / variance - 1.0) < 5.0 * np.sqrt(2.0 / w.size) and abs(w.mean()) < 5.0 * np.sqrt(
        variance / w.size)
    if init is nn.glorot:
        assert np.abs(w).max() <= np.sqrt(6.0 / 500) < 1.01 * np.abs(w).max()
    np.testing.assert_array_equal(start["b_a"], np.zeros(200))


@pytest.mark.parametrize("call, words", [
    (lambda g, x: nn.dense("g", "a", x, 2), "A str was given as the graph"),
    (lambda g, x: nn.dense(g, "a", 1.0, 2), "single number"),
    (lambda g, x: nn.dense(g, "a", x, 0), "size=0"),
    (lambda g, x: nn.dense(g, "a", x, (2, 3)), r"size=\(2, 3\)"),
    (lambda g, x: nn.dense(g, "a", x, True), "size=True"),
    (lambda g, x: nn.dense(g, "a", x), r"scg\.nn\.dense\(….*size"),
    (lambda g, x: nn.mlp(g, "a", x, 3), "sizes=3"),
    (lambda g, x: nn.mlp(g, "a", x, ()), r"sizes=\(\)"),
    (lambda g, x: nn.mlp(g, "a", x, (3, 2), activation="tanh"), "activation='tanh'"),
    (lambda g, x: nn.glorot(np.random.default_rng(0), (2, 3, 4)), r"scg\.nn\.glorot.*\(2, 3, 4\)"),
    (lambda g, x: nn.he(np.random.default_rng(0), ()), r"scg\.nn\.he.*\(\)"),
])  # fmt: skip
def test_misuse(call, words):
    g = scg.Graph("net")
    with pytest.raises(scg.SCGError, match=rf"test_nn\.py:\d+: .*{words}") as caught:
        call(g, g.input("x", 3))
    (problem,) = caught.value.problems
    assert problem.what and problem.why and problem.fix


# --- units of Bengio, Léonard & Courville ----------------------------------------------------------------------------
def unit(make) -> scg.EstimatorFunction:
    g = scg.Graph("unit")
    h = g.node("h", make(g, "z", g.param("a", 2)))
    g.cost("loss", h @ np.array([1.0, -2.0]))
    return scg.compile(g, backend="numpy")


def test_a_noisy_rectifier_has_the_gradient_of_its_model():
    """E max(0, a + z) = a Φ(a) + φ(a), whose derivative is Φ(a)."""
    f, a = unit(nn.noisy_rectifier), np.array([0.4, -1.3])
    r = f({"a": a}, samples=20_000, rng=0, record="h")
    h = r.record["h"][0]
    assert f.verdict.unbiased and np.all(h >= 0.0) and np.any(h == 0.0)
    assert np.all(np.abs(r.grad["a"] - np.array([1.0, -2.0]) * stats.norm.cdf(a)) < 5.0 * r.stderr["a"])
    mean = a * stats.norm.cdf(a) + stats.norm.pdf(a)
    assert abs(r.cost - mean @ np.array([1.0, -2.0])) < 5.0 * r.cost_stderr


def test_smooth_times_stochastic_passes_the_smooth_factor_alone():
    """h = b √p has the mean p; each replicate's derivative is b ∂√p, and the verdict says what that leaves out."""
    f, a = unit(nn.smooth_times_stochastic), np.array([0.4, -1.3])
    p = special.expit(a)
    r = f({"a": a}, samples=20_000, rng=0)
    assert abs(r.cost - p @ np.array([1.0, -2.0])) < 5.0 * r.cost_stderr
    assert not f.verdict.unbiased
    for seed in range(6):
        r = f({"a": a}, samples=1, rng=seed, record=("z", "h"))
        b = r.record["z"][0, 0]
        np.testing.assert_allclose(r.record["h"][0, 0], b * np.sqrt(p))
        np.testing.assert_allclose(r.grad["a"], np.array([1.0, -2.0]) * b * 0.5 * np.sqrt(p) * (1.0 - p))
