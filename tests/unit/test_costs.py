"""`costs=`: the objective is the sum of some costs of a graph, as each of several players has its own."""

import numpy as np
import pytest

import scg

VALUES = {"t1": 0.3, "t2": -0.4}


def players() -> scg.Graph:
    """Two players of a bit each, who read each other's; only the second reads a third draw."""
    g = scg.Graph("players")
    t1, t2 = g.param("t1"), g.param("t2")
    a, b = g.sample("a", scg.Bernoulli(logits=t1)), g.sample("b", scg.Bernoulli(logits=t2))
    x = g.sample("x", scg.Normal(t2, 1.0))
    g.cost("first", (a - b) ** 2 + 2.0 * a)
    g.cost("second", a * b - 3.0 * b + x, scale=2.0)
    return g


def in_closed_form(cost: str) -> tuple[float, dict[str, float]]:
    p, q = (1.0 / (1.0 + np.exp(-VALUES[name])) for name in ("t1", "t2"))
    dp, dq = p * (1.0 - p), q * (1.0 - q)
    if cost == "first":
        return p + q - 2.0 * p * q + 2.0 * p, {"t1": dp * (3.0 - 2.0 * q), "t2": dq * (1.0 - 2.0 * p)}
    return 2.0 * (p * q - 3.0 * q + VALUES["t2"]), {"t1": 2.0 * dp * q, "t2": 2.0 * (dq * (p - 3.0) + 1.0)}


@pytest.mark.parametrize("cost", ["first", "second"])
@pytest.mark.parametrize("given", [tuple, "".join, iter], ids=["tuple", "name", "iterator"])
def test_the_objective_is_of_the_costs_that_are_named(cost, given):
    f = scg.compile(players(), costs=given([cost]), backend="numpy",
                    strategy={"a": scg.Enumerate(), "b": scg.Enumerate()})
    r = f(VALUES, samples=2000, rng=0)
    value, grad = in_closed_form(cost)
    assert set(r.costs) == {cost}
    assert abs(r.cost - value) <= 4.0 * r.cost_stderr + 1e-12
    for name, exact in grad.items():
        assert r.grad[name] == pytest.approx(exact, abs=1e-12)
    assert scg.verify(f, VALUES).passed


def test_all_costs_together_are_what_none_named_is():
    g = players()
    all_of_them = scg.compile(g, backend="numpy")(VALUES, samples=100, rng=1)
    named = scg.compile(g, backend="numpy", costs=("second", "first"))(VALUES, samples=100, rng=1)
    assert named.cost == all_of_them.cost
    assert all(named.grad[name] == all_of_them.grad[name] for name in VALUES)


def test_what_only_other_costs_depend_on_is_not_drawn():
    f = scg.compile(players(), costs=("first",), backend="numpy")
    assert f.verdict["x"].reason == "no cost depends on it"
    assert "second" not in f.explain()
    assert "second" not in str(players().surrogate(costs=("first",)))
    assert set(f.surrogate.costs) == {"first"}


def test_the_graph_keeps_its_costs():
    g = players()
    scg.compile(g, costs=("first",), backend="numpy")
    assert set(g.costs) == {"first", "second"}


def test_draws_without_gradients_are_recorded_as_the_error_of_no_costs_says():
    f = scg.compile(players(), costs=("first",), wrt=(), backend="numpy")
    with pytest.raises(scg.DeclarationError, match=r"write wrt=\(\).*record= in a call"):
        scg.compile(players(), costs=(), wrt=(), backend="numpy")
    r = f(VALUES, samples=5, rng=0, record=("b", "x"))
    assert r.record["b"].shape == r.record["x"].shape == (1, 5) and not r.grad


@pytest.mark.parametrize(("given", "said"), [
    ((), "For values without gradients write wrt=()"), (("third",), "Its costs are: first, second."),
    (3, "Give a tuple of names of costs."), ((3,), "Its costs are: first, second.")])
def test_refused(given, said):
    with pytest.raises(scg.DeclarationError, match=r"test_costs.py:.*costs") as error:
        scg.compile(players(), costs=given, backend="numpy")
    assert said in str(error.value)
