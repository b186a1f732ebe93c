"""Sites of loops inside loops: one name stands for the steps of all, and every law of a site in one loop holds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import scg
from scg import backend
from scg.derive import derive
from scg.ir.node import constant
from scg.ir.traverse import topological
from scg.ops.scan import scan_op
from scg.passes.outputs import program_of
from scg.simplification import simplified
from scg.surrogate.to_come import still_to_come, still_to_come_in_worlds
from tests.laws.checks.exact_law import unbiased_estimators

VALUES = {"t": 0.2, "s": -0.3}
REFUSED = {"Pathwise": "zero almost everywhere", "DReG": "zero almost everywhere", "LAX": "no path",
           "REBAR": "a distribution that moves", "Delta": "a distribution that moves"}  # fmt: skip


def coins(inner: int = 2, outer: int = 2, baseline=None, unrolled: bool = False):
    """In every step of the outer loop a coin a, then a loop of coins b that it moves; costs in both, and after them."""
    g = scg.Graph("coins")
    t, s, kept = g.param("t"), g.param("s"), {}

    def first(name, c):
        return g.sample(name, scg.Bernoulli(logits=s - c))

    def one(name, c, a, d):
        kept.update(d=d, c=c)
        estimator = scg.ScoreFunction(scg.Expression(baseline(kept))) if baseline else None
        b = kept["b"] = g.sample(name, scg.Bernoulli(logits=t - 0.4 * d + 0.2 * c + a), estimator=estimator)
        return d + b, (d + b - 0.3 + a) ** 2

    def after(c, a, d):
        return 0.5 * d - a, np.exp(0.3 * d) - c * a

    if unrolled:
        c, inside, outside = 0.1, [], []
        for i in range(outer):
            a = first(f"a[{i}]", c)
            d = 0.5 * c
            for j in range(inner):
                d, cost = one(f"b[{i * inner + j}]", c, a, d)
                inside.append(g.cost(f"in {i} {j}", cost))
            c, cost = after(c, a, d)
            outside.append(g.cost(f"out {i}", cost))
    else:
        def step(c, _):
            a = first("a", c)

            def deeper(d, _):
                d, cost = one("b", c, a, d)
                g.cost("in", cost)
                return d, d

            d, ds = g.scan(deeper, 0.5 * c, length=inner)
            c, cost = after(c, a, d)
            g.cost("out", cost)
            return c, ds

        c, kept["ds"] = g.scan(step, 0.1, length=outer)
    g.cost("last", c**2)
    return (g, kept) if baseline else g


def compiled(g, strategy):
    return scg.compile(g, strategy=strategy, backend="numpy")


DEAR = (scg.CARMS, scg.ARMS, scg.ARM, scg.DisARM, scg.SumAndSample, scg.WithoutReplacement, scg.LocalExpectation,
        scg.MuProp, scg.StochasticTriple, scg.WeakDerivative, scg.DoubleCV, scg.GradientCritic,
        scg.RELAX)  # with many pieces of noise, or much to compute


def dear(estimator) -> bool:
    """Whether it is only tried with `--full`."""
    baseline = getattr(estimator, "baseline", None)
    return isinstance(estimator, DEAR) or str(baseline) not in {"None", str(scg.LeaveOneOut())}


@pytest.mark.parametrize("estimator", [pytest.param(e, marks=[pytest.mark.full] * dear(e), id=str(e)) for e in
                                       unbiased_estimators() if not isinstance(e, scg.Enumerate)])
def test_the_exact_law(estimator):
    """The expectation of the estimator is the derivative of the enumerated cost; else it is refused with the reason."""
    g = coins()
    if getattr(estimator, "noise", None) == "fresh" or getattr(estimator, "rollout", False):
        with pytest.raises(scg.EstimatorError, match="loop inside a loop"):
            compiled(g, {"a": scg.ScoreFunction(), "b": estimator})
    elif type(estimator).__name__ in REFUSED:
        with pytest.raises(scg.SCGError, match=REFUSED[type(estimator).__name__]):
            compiled(g, {"a": scg.ScoreFunction(), "b": estimator})
    elif isinstance(estimator, scg.RELAX):  # it reads two uniforms for each draw: too many pieces
        f, exact = compiled(g, {"a": scg.ScoreFunction(), "b": estimator}), scg.exact(g, VALUES)
        r = f({**f.init(0), **VALUES}, samples=20_000, rng=0)
        for name in VALUES:
            assert abs(r.grad[name] - exact.grad[name]) < 5.0 * r.stderr[name]
    else:
        f = compiled(g, {"a": scg.ScoreFunction(), "b": estimator})
        found = scg.verify(f, {**f.init(0), **VALUES})
        assert found.passed, found


def test_enumeration_of_loops_is_that_of_the_steps():
    nested, steps = (scg.exact(coins(unrolled=unrolled), VALUES) for unrolled in (False, True))
    for name in VALUES:
        assert nested.grad[name] == pytest.approx(steps.grad[name], rel=1e-12)


@pytest.mark.parametrize("estimator", [scg.Enumerate(), scg.WeakDerivative(), scg.MuProp()], ids=str)
def test_the_exact_law_of_one_site(estimator):
    g = scg.Graph("walk")
    t = g.param("t")

    def step(c, _):
        def deeper(d, _):
            d = d + g.sample("b", scg.Bernoulli(logits=t - 0.4 * d + 0.2 * c))
            g.cost("in", (d - 0.3) ** 2)
            return d, None

        d, _ = g.scan(deeper, 0.5 * c, length=2)
        g.cost("out", np.exp(0.3 * d) - c)
        return d, None

    g.cost("last", g.scan(step, 0.1, length=2)[0] ** 2)
    assert scg.verify(compiled(g, estimator), {"t": 0.2}).passed


@pytest.mark.parametrize("estimator", [scg.ScoreFunction(), scg.WeakDerivative(), scg.LocalExpectation()], ids=str)
def test_the_same_words_are_drawn_as_by_the_steps(estimator):
    """Step j of the inner loop in step i of the outer one draws the words of step i · inner + j."""
    found = [compiled(coins(3, 2, unrolled=unrolled), estimator)(VALUES, samples=20, rng=3)
             for unrolled in (False, True)]
    for name in VALUES:
        assert found[0].grad[name] == pytest.approx(found[1].grad[name], rel=1e-11)
        assert found[0].stderr[name] == pytest.approx(found[1].stderr[name], rel=1e-9)


def test_values_are_recorded_by_loop():
    r = compiled(coins(3, 2), scg.ScoreFunction())(VALUES, samples=5, rng=0, record=("a", "b"))
    assert r.record["a"].shape == (1, 5, 2) and r.record["b"].shape == (1, 5, 2, 3)


def test_kernels_give_the_same():
    g = coins(3, 2)
    a, b = (scg.compile(g, strategy=scg.ScoreFunction(), backend=name)(VALUES, samples=70, rng=1)
            for name in ("numpy", "numba"))
    assert a.cost == pytest.approx(b.cost, rel=1e-12)
    assert all(a.grad[name] == pytest.approx(b.grad[name], rel=1e-11) for name in VALUES)


def test_loops_run_once_forwards():
    """What estimators and derivatives put out besides is put out by one loop with one inside it."""
    program = simplified(program_of(derive(coins(), scg.ScoreFunction()), "float64", True))
    outer = [n for n in topological([o.node for o in program.outputs]) if n.op is scan_op]
    within = [sum(n.op is scan_op for n in topological(scan.attrs.outputs)) for scan in outer]
    assert [count for scan, count in zip(outer, within) if not scan.attrs.reverse] == [1]
    assert max(within) == 2  # backwards: the inner loop runs again first


def test_baselines_of_each_step():
    """Of the carries of both loops."""
    g, _ = coins(2, 1, lambda n: 2.0 * n["d"] + n["c"] ** 2)
    assert scg.verify(compiled(g, {"a": scg.ScoreFunction()}), VALUES).passed


def test_baselines_that_peek_are_refused():
    g, kept = coins(2, 2, lambda n: n["d"])
    for node in (kept["b"], kept["ds"]):
        with pytest.raises(scg.BaselineError, match=r'own sample of the same step, along sample "b"'):
            compiled(g, {"a": scg.ScoreFunction(), "b": scg.ScoreFunction(scg.Expression(node))})


def test_what_is_still_to_come():
    """By brute force, for each set of steps that may be reached, and costs of one or both of two loops."""
    evaluate = backend.load("numpy").evaluate
    evaluation = backend.load("numpy").Evaluation({}, {"row": 1, "lane": 1})
    loops, rng = (3, 2), np.random.default_rng(0)
    for depth in (1, 2):
        costs = rng.normal(size=loops[:depth])
        steps = [*np.ndindex(loops)]
        for reached in product((False, True), repeat=depth + 1):
            def counts(draw, step, reached=reached, depth=depth):
                k = next((k for k in range(depth) if draw[k] != step[k]), depth)
                return reached[-1] if k == depth else reached[k] and step[k] > draw[k]

            right = [sum(costs[step] for step in np.ndindex(loops[:depth]) if counts(draw, step)) for draw in steps]
            wide = constant(np.broadcast_to(costs, (len(steps), *costs.shape)).copy())
            found = evaluate([still_to_come(constant(costs), loops, reached),
                              still_to_come_in_worlds(wide, loops, reached)], evaluation)
            for array in found:
                assert np.allclose(np.reshape(array, -1), right)
