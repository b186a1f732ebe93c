"""Rules for a whole graph: what they bring as gradients is what comes back, and nothing else."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.derive import derive
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.sampling import within
from tests.problems import PROBLEMS


def switches() -> scg.Graph:
    """Two sites, the second of which the first moves, and a cost that jumps."""
    g = scg.Graph("switches")
    w = g.param("w", shape=2)
    a = g.sample("a", scg.Bernoulli(logits=w[0]))
    b = g.sample("b", scg.Bernoulli(logits=w[1] * (a - 0.4)))
    g.cost("loss", 3.0 * (a + b > 1.5) + b * w[0] ** 2)
    return g


def objective(w: np.ndarray) -> float:
    """Its expected cost, by enumeration."""
    p, cost = expit(w[0]), 0.0
    for a, pa in ((0.0, 1.0 - p), (1.0, p)):
        q = expit(w[1] * (a - 0.4))
        cost += pa * q * (3.0 * (a + 1.0 > 1.5) + w[0] ** 2)
    return cost


AT, STEP = np.array([0.4, 1.3]), 0.2


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_spsa_has_the_expectation_of_differences(by):
    """E over Δ of Δ (F(θ + cΔ) − F(θ − cΔ)) / 2c, to rounding."""
    expected = np.zeros(2)
    for signs in ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)):
        d = np.array(signs)
        expected += 0.25 * d * (objective(AT + STEP * d) - objective(AT - STEP * d)) / (2.0 * STEP)
    found = by(derive(switches(), scg.SPSA(STEP)), {"w": AT})
    np.testing.assert_allclose(found.grad["w"], expected, atol=1e-12)
    assert found.cost == pytest.approx(objective(AT), abs=1e-12)


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_finite_differences_have_the_expectation_of_differences(by):
    expected = [(objective(AT + d) - objective(AT - d)) / (2.0 * STEP) for d in STEP * np.eye(2)]
    np.testing.assert_allclose(by(derive(switches(), scg.FiniteDifferences(STEP)), {"w": AT}).grad["w"], expected,
                               atol=1e-12)


def test_finite_differences_of_params_and_data_of_several_shapes():
    """Each has the slope in its own elements, of data those of its own row; what no cost is made of has none."""
    g = scg.Graph("shapes")
    x, d = g.param("x", (2, 3)), g.data("d", 2)
    g.cost("loss", (x @ [1.0, 2.0, 3.0] * d).sum() * g.param("s") + 0.0 * g.sample("u", scg.Uniform(0.0, 1.0)))
    g.param("idle", 0)
    values = {"x": np.ones((2, 3)), "d": [[1.0, 2.0], [3.0, 5.0]], "s": 2.0, "idle": np.zeros(0)}
    r = scg.compile(g, strategy=scg.FiniteDifferences(), wrt=("x", "d", "s", "idle"), backend="numpy")(values)
    np.testing.assert_allclose(r.grad["x"], np.outer([4.0, 7.0], [1.0, 2.0, 3.0]), rtol=1e-9)
    np.testing.assert_allclose(r.grad["d"], np.full((2, 2), 12.0 / 2.0), rtol=1e-9)  # of the mean over rows
    np.testing.assert_allclose(r.grad["s"], 33.0, rtol=1e-9)
    only = scg.compile(g, strategy=scg.FiniteDifferences(), wrt=("idle",), backend="numpy")(values)
    assert only.grad["idle"].shape == (0,)


def test_its_bias_falls_with_the_square_of_the_step():
    g = switches()
    exact = scg.exact(g, {"w": AT}).grad["w"]
    off = [np.abs(expected_gradient(derive(g, scg.SPSA(c)), {"w": AT}).grad["w"] - exact).max() for c in (0.2, 0.1)]
    assert off[0] / off[1] == pytest.approx(4.0, rel=0.1)


def test_a_step_that_is_given_at_each_call():
    """The same numbers as of a step that is fixed; and gains that fall lead to a minimum of a cost that jumps."""
    def graph():
        g = scg.Graph("gains")
        x = g.param("x", 2)
        u = g.sample("u", scg.Uniform(0.0, 1.0), shape=2)
        g.cost("loss", ((x + u > 0.7) - 0.5) ** 2 * 2.0 + (x + u - 0.9) ** 2)
        return g

    g = graph()
    f = scg.compile(g, strategy=scg.SPSA(g.input("gain")), wrt=("x",), backend="numpy")
    fixed = scg.compile(graph(), strategy=scg.SPSA(0.2), backend="numpy")
    at = {"x": np.array([1.0, -0.5])}
    one, other = f({**at, "gain": 0.2}, samples=50, rng=1), fixed(at, samples=50, rng=1)
    np.testing.assert_allclose(one.grad["x"], other.grad["x"], rtol=1e-12)
    assert "F(θ + c Δ)" in str(f.surrogate)
    x = at["x"]
    for k in range(150):
        c, a = 0.3 / (k + 1) ** 0.101, 0.6 / (15.0 + k + 1) ** 0.602
        x = x - a * f({"x": x, "gain": c}, samples=20, rng=k).grad["x"]
    np.testing.assert_allclose(x, [0.4, 0.4], atol=0.05)  # (jumps weigh the same on both sides: E(x + u − 0.9)² counts)


def test_verdicts_and_notes():
    f = scg.compile(switches(), strategy=scg.SPSA(), backend="numpy")
    assert not f.verdict.unbiased and {f.verdict[name].status for name in ("a", "b", "loss")} == {"biased"}
    assert any("is biased" in note for note in f({"w": AT}, samples=10, rng=0).notes)
    assert scg.verify(f, {"w": AT}).passed is False
    deterministic = scg.Graph("deterministic")
    deterministic.cost("loss", deterministic.param("x") ** 3)
    f = scg.compile(deterministic, strategy=scg.SPSA(0.5), backend="numpy")
    assert not f.verdict.unbiased
    assert f({"x": 1.0}, samples=3, rng=0).grad["x"] == pytest.approx(3.0 + 0.25)  # (1.5³ − 0.5³)


def test_targets_that_are_made_of_one_another():
    """Of θ, data, and a node that both make, each has its own number: a term of one is none of the others'."""
    g = scg.Graph("nested")
    theta, x = g.param("theta", 2), g.data("x")
    h = g.node("h", theta.sum() * x)
    g.cost("loss", (h - 0.3) ** 2 + g.sample("b", scg.Bernoulli(probs=theta[0])) * x)
    values = {"theta": [0.3, 0.2], "x": [1.0, 2.0]}
    r = scg.compile(g, strategy=scg.SPSA(0.05), wrt=("theta", "x", "h"), backend="numpy")(values, samples=40_000, rng=0)
    exact = scg.compile(g, strategy=scg.Enumerate(), wrt=("theta", "x", "h"), backend="numpy")(values)
    for name, expected in exact.grad.items():  # a square and a line: no bias
        within(r.grad[name], r.stderr[name], expected, name)


def test_what_no_cost_is_made_of_has_no_gradient():
    g = scg.Graph("idle")
    g.cost("loss", g.param("x") ** 2 + 0.0 * g.sample("b", scg.Bernoulli(logits=g.param("a"))))
    g.param("idle", 2)
    r = scg.compile(g, strategy=scg.SPSA(), backend="numpy")({"x": 1.0, "a": 0.3, "idle": [0.0, 0.0]}, samples=5, rng=0)
    np.testing.assert_array_equal(r.grad["idle"], 0.0)
    formula = str(g.surrogate(scg.SPSA())).partition("where")[0]
    assert "idle" not in formula


def test_a_site_that_is_called_like_a_direction():
    g = scg.Graph("names")
    w = g.param("w")
    b = g.sample("w direction", scg.Bernoulli(logits=w))
    g.cost("loss", b)
    difference = (expit(0.3 + STEP) - expit(0.3 - STEP)) / (2.0 * STEP)
    assert expected_gradient(derive(g, scg.SPSA(STEP)), {"w": 0.3}).grad["w"] == pytest.approx(difference, abs=1e-13)


def test_replays_have_names_of_their_own():
    """Draws of two worlds are two symbols."""
    names = {str(s) for s in switches().surrogate(scg.SPSA(STEP)).sympy().free_symbols}
    assert {"b", "b'", "b''"} <= names


def test_whatever_stands_in_the_graph():
    """Sites of any family, in scans, shared by rows, by row: costs are evaluated only."""
    for name in ("scan_3_steps", "shared_weights", "normal_to_bernoulli", "categorical_table"):
        p = PROBLEMS[name]()
        exact = scg.exact(p.graph, p.values).grad if p.grad is None else p.grad
        r = scg.compile(p.graph, strategy=scg.SPSA(0.05), backend="numpy")(p.values, samples=20_000, rng=1)
        for parameter, expected in exact.items():
            z = (r.grad[parameter] - expected) / r.stderr[parameter]
            assert np.all(np.abs(z) < 5), f"{name}, {parameter}: z = {z}"  # the bias is below that


def test_what_is_moved_out_of_its_domain_is_refused():
    g = scg.Graph("edge")
    g.cost("loss", g.sample("b", scg.Bernoulli(probs=g.param("p"))))
    f = scg.compile(g, strategy=scg.SPSA(0.1), backend="numpy")
    f({"p": 0.5}, samples=10, rng=0)
    with pytest.raises(scg.CallError, match=r"probs.*estimator has moved p.*move less") as refused:
        f({"p": 0.95}, samples=10, rng=0)
    assert len(refused.value.problems) == 1


def test_a_result_of_a_loop_is_moved_by_what_it_is_made_of():
    """Whatever else the loop computes."""
    g = scg.Graph("two results")
    w, v = g.param("w"), g.param("v")
    b = g.sample("b", scg.Bernoulli(logits=w))
    kept = g.scan(lambda c, _: ((c[0] * w + b, c[1] + v), None), (b, v), length=2)[0]
    g.cost("c", kept[0])
    surrogate = g.surrogate(scg.SPSA())
    names = {str(s) for s in surrogate.sympy(expand=True).free_symbols}
    assert "w_direction" in names and "v_direction" not in names
    assert "Δ(w)" in str(surrogate) and "Δ(v)" not in str(surrogate)


def test_a_rule_for_a_whole_graph_is_no_site_s():
    with pytest.raises(scg.EstimatorError, match="a rule for a whole graph"):
        derive(switches(), {"a": scg.SPSA()})
    g = scg.Graph("declared")
    g.cost("c", g.sample("a", scg.Bernoulli(logits=g.param("w")), estimator=scg.SPSA()))
    with pytest.raises(scg.EstimatorError, match="a rule for a whole graph"):
        derive(g)
    derive(g, scg.ScoreFunction())


@pytest.mark.full
def test_the_export_returns_the_same(tmp_path):
    f = scg.compile(switches(), strategy=scg.SPSA(STEP))
    f.export(tmp_path / "spsa.py")
    spec = importlib.util.spec_from_file_location("spsa", tmp_path / "spsa.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    np.testing.assert_array_equal(f({"w": AT}, samples=200, rng=3).grad["w"],
                                  module.estimate({"w": AT}, samples=200, rng=3).grad["w"])
    assert "Δ(w)" in str(f.surrogate) and "stop_gradient" in str(f.surrogate.gradient("w").expr)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("family", ["normal", "table"])
def test_what_must_hold_in_a_loop_is_asked_where_each_element_is_moved(family, backend):
    """A check of a step's parameters, or of its index, has one number though there is a world for each element."""
    g = scg.Graph("moved")
    t = g.param("t", 2)

    def step(y, _):
        if family == "normal":
            z = g.sample("z", scg.Normal(t[0] * y + t[1], 1.0))
        else:
            z = g.sample("z", scg.Categorical(logits=t + scg.take(np.array([[0.3, 0.0], [0.0, 0.6]]), y)))
        g.cost("c", z**2 + y)
        return z, None

    g.scan(step, 0.0, length=2)
    r = scg.compile(g, strategy=scg.FiniteDifferences(0.05), backend=backend)({"t": [0.4, 0.5]}, samples=4000, rng=0)
    a, b = 0.4, 0.5  # E z₁ = b, E z₁² = 1 + b², E z₂² = 1 + a² (1 + b²) + 2 a b² + b²
    exact = np.array([2 * a * (1 + b * b) + 2 * b * b, 4 * b + 2 * a * a * b + 4 * a * b + 1])
    if family == "table":
        exact = scg.exact(g, {"t": [a, b]}).grad["t"]
    assert np.all(np.abs(r.grad["t"] - exact) < 5.0 * r.stderr["t"] + 0.01)


# --- a rule of one's own ---------------------------------------------------------------------------------------------
def test_ready_numbers_are_the_gradients(registry):
    @dataclass(frozen=True)
    class Ready(scg.Estimator):
        """The cost itself as the gradient of everything."""

        scope = "graph"
        unbiased = False

        def objection(self, whole):
            return None

        def rewrite(self, whole):
            return whole.with_gradients({name: whole.cost + 0.0 * x for name, x in whole.targets.items()})

    g = switches()
    r = scg.compile(g, strategy=Ready(), backend="numpy")({"w": AT}, samples=100, rng=0)
    np.testing.assert_allclose(r.grad["w"], [r.cost, r.cost], rtol=1e-14)
