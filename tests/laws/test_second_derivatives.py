"""Second derivatives equal differences of exact gradients: without sampling error where all is summed out, else within
5 standard errors; under every kind of estimator."""

import numpy as np
import pytest

import scg
from tests.problems import PROBLEMS, finite_problems

STEP = 1e-5
PLAIN = ("bernoulli_toy", "categorical_weights", "tiny_net", "rows", "shared_weights", "scan_of_one_step",
         "one_hot_pair", "mixture_cosine", "gamma_square", "multivariate_normal", "uniform_square",
         "bernoulli_to_normal", "figure_1_graph_5", "deterministic", "student_square")
OPEN = {"custom_logistic": "no exact gradient", "normal_scan": "no exact gradient"}
SUMMED = ("shared_logit", "tiny_net", "rows", "bernoulli_to_categorical", "scan_masked", "figure_1_graph_4")


def some(names, plain):
    return [pytest.param(n, marks=() if n in plain else pytest.mark.full) for n in names]


def in_direction(problem, seed: int = 0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=x.shape) for name, x in problem.graph.params.items()}


def by_differences(problem, direction) -> dict[str, np.ndarray]:
    """H v, from exact gradients on both sides."""
    def grad(by: float):
        return scg.exact(problem.graph, {name: np.asarray(x) + by * direction[name] if name in direction else x
                                         for name, x in problem.values.items()}).grad

    ahead, behind = grad(STEP), grad(-STEP)
    return {name: (ahead[name] - behind[name]) / (2.0 * STEP) for name in direction}


def assert_agrees(h, exact, where="") -> None:
    for name, number in exact.items():
        off = np.abs(h.grad[name] - number)
        assert np.all(off <= 5.0 * h.stderr[name] + 1e-6 * (1.0 + np.abs(number))), (where, name, h.grad[name], number)


@pytest.mark.parametrize("name", some(finite_problems(), SUMMED))
def test_summed_out(name):
    """All sites summed out: H v itself, in one replicate."""
    problem = PROBLEMS[name]()
    direction = in_direction(problem)
    f = scg.compile(problem.graph, strategy=scg.Enumerate(), backend="numpy")
    h = f.hvp(problem.values, direction)
    for target, number in by_differences(problem, direction).items():
        np.testing.assert_allclose(h.grad[target], number, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", some([n for n in PROBLEMS if n not in OPEN], PLAIN))
def test_sampled(name):
    """Under the policy; the directional derivative comes with it."""
    problem = PROBLEMS[name]()
    direction = in_direction(problem)
    h = scg.compile(problem.graph, backend="numpy").hvp(problem.values, direction, samples=4000, rng=0)
    assert_agrees(h, by_differences(problem, direction), name)
    along = sum(np.sum(scg.exact(problem.graph, problem.values).grad[n] * v) for n, v in direction.items())
    assert abs(h.cost - along) <= 5.0 * h.cost_stderr + 1e-6 * (1.0 + abs(along))


def test_along_a_path_of_a_gamma_draw_it_is_refused_with_a_reason():
    g = scg.Graph("path")
    g.cost("c", g.sample("x", scg.Gamma(g.param("a"), 1.0)) ** 2)
    with pytest.raises(scg.ConditionError, match=r"A second derivative was asked for.*slope of a gamma draw's path"):
        scg.compile(g, strategy=scg.Pathwise(), backend="numpy").hvp({"a": 2.0}, {"a": 1.0})


@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction()], ids=repr)
def test_degrees_of_freedom_that_are_given_as_they_are(strategy):
    """No formula says that they are positive; calls check it. Against quadrature, by differences of its density's."""
    from scipy import integrate, stats

    def mean(df, scale):
        return integrate.quad(lambda x: np.exp(-x * x) * stats.t.pdf(x / scale, df) / scale, -np.inf, np.inf,
                              epsabs=1e-13, epsrel=1e-13)[0]

    g = scg.Graph("student")
    df, scale = g.param("df"), g.param("scale")
    g.cost("c", np.exp(-g.sample("x", scg.StudentT(df, 0.0, scale)) ** 2))
    f = scg.compile(g, strategy=strategy, backend="numpy", order=2)
    r, h = f({"df": 2.0, "scale": 1.3}, samples=8000, rng=0), 1e-3
    exact = {("df", "df"): (mean(2 + h, 1.3) - 2 * mean(2, 1.3) + mean(2 - h, 1.3)) / h**2,
             ("df", "scale"): (mean(2 + h, 1.3 + h) - mean(2 + h, 1.3 - h) - mean(2 - h, 1.3 + h)
                               + mean(2 - h, 1.3 - h)) / (4 * h**2)}
    for (a, b), number in exact.items():
        assert abs(r.hessian[a][b] - number) <= 5.0 * r.hessian_stderr[a][b] + 1e-6, (a, b)
    with pytest.raises(scg.CallError, match=r"df.*must be positive"):
        f({"df": -2.0, "scale": 1.3}, samples=8, rng=0)


@pytest.mark.parametrize("strategy", [
    scg.ScoreFunction(), scg.ScoreFunction(baseline=scg.LeaveOneOut(group=4)),
    scg.ScoreFunction(baseline=scg.MovingAverage()), scg.LocalExpectation(), scg.WeakDerivative(), scg.DisARM(),
    scg.ARM(), scg.MuProp(), scg.WithoutReplacement(2), scg.CARMS(2)], ids=repr)
@pytest.mark.parametrize("name", some(["tiny_net", "two_layer_net", "chain", "rows"], ["tiny_net"]))
def test_under_every_kind_of_estimator(name, strategy):
    """Estimators that look at the noise behind a draw, or at draws in other worlds, are of the second step only."""
    problem = PROBLEMS[name]()
    direction = in_direction(problem, 1)
    f = scg.compile(problem.graph, strategy=strategy, backend="numpy")
    h = f.hvp(problem.values, direction, samples=4000, rng=1)
    assert_agrees(h, by_differences(problem, direction), strategy)


@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction(), scg.LocalExpectation()], ids=repr)
def test_what_is_added_to_the_cost_does_not_matter(strategy):
    """Without a baseline at the first derivative the second would be lost in it."""
    g = scg.Graph("far")
    theta = g.param("theta", 4)
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", g.input("more") + (b.sum() - 1.0) ** 2)
    f = scg.compile(g, backend="numpy", strategy=strategy)
    near, far = (f.hvp({"theta": np.zeros(4), "more": more}, {"theta": np.ones(4)}, samples=640, rng=0)
                 for more in (0.0, 1e4))
    np.testing.assert_allclose(far.grad["theta"], near.grad["theta"], rtol=1e-8)
    np.testing.assert_allclose(far.stderr["theta"], near.stderr["theta"], rtol=1e-8)


@pytest.mark.parametrize("baseline", [scg.MovingAverage(), scg.Constant(3.0)], ids=repr)
def test_declared_baselines_are_those_of_the_costs_too(baseline):
    """Estimators of the declaration have leave-one-out baselines in products, as those that are given to compile."""
    def product(strategy, **declared):
        g = scg.Graph("declared")
        theta = g.param("theta", 2)
        b = g.sample("b", scg.Bernoulli(logits=theta), **declared)
        g.cost("loss", (b.sum() - 0.45) ** 2)
        return scg.compile(g, backend="numpy", strategy=strategy).hvp(
            {"theta": np.zeros(2)}, {"theta": np.ones(2)}, samples=64, rng=0).grad["theta"]

    given = scg.ScoreFunction(baseline=baseline)
    np.testing.assert_array_equal(product(None, estimator=given), product(given))


# --- kinks -----------------------------------------------------------------------------------------------------------
def kinked(family):
    g = scg.Graph("kinked")
    m, s = g.param("m"), g.param("s")
    x = g.sample("x", family(m))
    g.cost("c", scg.relu(x - 0.1) + x * scg.relu(s) ** 2 + scg.relu(s * (x + 0.2)))
    return g


def test_a_kink_that_draws_pass_is_scored():
    """E relu(x − a) = φ(m − a) + (m − a) Φ(m − a): second derivative φ(m − a). Along the path it would be 0."""
    g = scg.Graph("kink")
    m = g.param("m")
    g.cost("c", scg.relu(g.sample("x", scg.Normal(m, 1.0)) - 0.1))
    h = scg.compile(g, backend="numpy").hvp({"m": 0.4}, {"m": 1.0}, samples=40_000, rng=0)
    exact = np.exp(-0.5 * 0.3**2) / np.sqrt(2.0 * np.pi)
    assert abs(h.grad["m"] - exact) <= 5.0 * h.stderr["m"]
    with pytest.raises(scg.ConditionError, match=r"Its slope jumps.*Or score at x"):
        scg.compile(g, strategy=scg.Pathwise(), backend="numpy").hvp({"m": 0.4}, {"m": 1.0})


def test_a_kink_of_parameters_has_slopes_on_both_sides():
    """Nothing with a density passes these: F is smooth but for isolated values of the parameters."""
    g = kinked(lambda m: scg.Bernoulli(logits=m))
    f = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")
    for s in (0.5, -0.5):
        values, direction = {"m": 0.4, "s": s}, {"m": 0.7, "s": -1.1}
        p = 1.0 / (1.0 + np.exp(-0.4))
        dp, ddp = p * (1 - p), p * (1 - p) * (1 - 2 * p)
        up = max(s, 0.0)
        of_p = 0.9 + up**2 + max(1.2 * s, 0.0) - max(0.2 * s, 0.0)  # F = p · of_p + relu(0.2 s)
        slope = 2.0 * up + 1.0 * (s > 0)
        h = f.hvp(values, direction)
        assert h.grad["m"] == pytest.approx(ddp * of_p * 0.7 + dp * slope * -1.1, abs=1e-12)
        assert h.grad["s"] == pytest.approx(dp * slope * 0.7 + p * 2.0 * (s > 0) * -1.1, abs=1e-12)


# --- whole, and of several players -----------------------------------------------------------------------------------
def test_the_whole_hessian():
    """Of the toy: F = p (1 − 2t) + t² and F″ = (1 − 2t) p (1 − p)(1 − 2p)."""
    problem = PROBLEMS["two_layer_net"]()
    f = scg.compile(problem.graph, strategy=scg.Enumerate(), backend="numpy", order=2, wrt=("W1", "v"))
    r = f(problem.values)
    shapes = {name: problem.graph.params[name].shape for name in ("W1", "v")}
    for b, shape in shapes.items():
        for index in np.ndindex(*shape):
            unit = np.zeros(shape)
            unit[index] = 1.0
            column = by_differences(problem, {**{n: np.zeros(s) for n, s in shapes.items()}, b: unit})
            for a in shapes:
                assert r.hessian[a][b].shape == shapes[a] + shape
                np.testing.assert_allclose(r.hessian[a][b][(..., *index)], column[a], rtol=1e-6, atol=1e-7)
                assert np.all(r.hessian_stderr[a][b] == 0.0)
    np.testing.assert_allclose(r.hessian["W1"]["v"].reshape(4, -1), r.hessian["v"]["W1"].reshape(-1, 4).T, atol=1e-12)
    np.testing.assert_allclose(r.grad["v"], scg.exact(problem.graph, problem.values).grad["v"], atol=1e-12)


def test_players_who_learn_of_each_other():
    """The term of LOLA (Foerster et al. 2018): ∂₁((∂₂F₁) · ⊥∂₂F₂), in closed form for two bits."""
    g = scg.Graph("matching")
    t1, t2 = g.param("t1"), g.param("t2")
    a, b = g.sample("a", scg.Bernoulli(logits=t1)), g.sample("b", scg.Bernoulli(logits=t2))
    g.cost("first", a * b * 3.0 - a)
    g.cost("second", a * (1.0 - b) + 2.0 * b)
    values = {"t1": 0.3, "t2": -0.5}
    first, second = (scg.compile(g, costs=(name,), strategy=scg.Enumerate(), backend="numpy")
                     for name in ("first", "second"))
    p, q = (1.0 / (1.0 + np.exp(-values[n])) for n in ("t1", "t2"))
    step = second(values).grad["t2"]
    assert step == pytest.approx(q * (1 - q) * (2.0 - p))
    h = first.hvp(values, {"t2": step})
    assert h.grad["t1"] == pytest.approx(p * (1 - p) * 3.0 * q * (1 - q) * step)


# --- what it is given ------------------------------------------------------------------------------------------------
def test_data_are_a_direction_too():
    g = scg.Graph("data")
    w, x = g.param("w"), g.data("x")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=w * x)) * w)
    f = scg.compile(g, wrt=("w", "x"), strategy=scg.Enumerate(), backend="numpy")
    rows = np.array([0.2, -0.7, 1.1])
    values, v = {"w": 0.6, "x": rows}, {"w": 0.5, "x": np.array([1.0, 0.0, -2.0])}
    h = f.hvp(values, v)
    p = 1.0 / (1.0 + np.exp(-0.6 * rows))
    d1, d2 = p * (1 - p), p * (1 - p) * (1 - 2 * p)  # F = mean of w p(w x)
    of_ww, of_wx, of_xx = 2 * rows * d1 + 0.6 * rows**2 * d2, 2 * 0.6 * d1 + 0.36 * rows * d2, 0.6**3 * d2
    np.testing.assert_allclose(h.grad["w"], np.mean(of_ww * 0.5 + of_wx * v["x"]), rtol=1e-10)
    np.testing.assert_allclose(f.hvp(values, {"w": 0.5}).grad["x"], of_wx * 0.5 / 3, rtol=1e-10)
    np.testing.assert_allclose(h.grad["x"], (of_wx * 0.5 + of_xx * v["x"]) / 3, rtol=1e-10)


@pytest.mark.parametrize(("direction", "said"), [
    ({}, "Give a dict"), ({"phi": 1.0}, "What is differentiated is: theta."), (3, "Give a dict"),
    ({"theta": [1.0, 2.0]}, "has shape \\(2,\\)"), ({"theta": "up"}, "no array of numbers")])
def test_bad_directions(direction, said):
    f = scg.compile(PROBLEMS["bernoulli_toy"]().graph, backend="numpy")
    with pytest.raises(scg.CallError, match=f"test_second_derivatives.py:.*{said}"):
        f.hvp({"theta": 0.3}, direction)


@pytest.mark.parametrize(("strategy", "said"), [
    (scg.StraightThrough(), "StraightThrough\\(\\) is biased"), (scg.SPSA(), "is a rule for first derivatives")])
def test_what_has_no_hessian(strategy, said):
    f = scg.compile(PROBLEMS["bernoulli_toy"]().graph, strategy=strategy, backend="numpy")
    with pytest.raises(scg.EstimatorError, match=f"A second derivative was asked for.*{said}"):
        f.hvp({"theta": 0.3}, {"theta": 1.0})


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_probabilities_of_nothing_and_of_all(at):
    """Where all sites are summed out F is a polynomial of the probabilities, there as elsewhere."""
    g = scg.Graph("certain")
    p = g.param("p")
    b = g.sample("b", scg.Bernoulli(probs=p))
    c = g.sample("c", scg.Bernoulli(probs=0.2 + 0.5 * p * b))
    g.cost("loss", (b + c - 0.45) ** 2 * p)
    f = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")
    # F = p (p q(1) f(1, 1) + p (1 - q(1)) f(1, 0) + (1 - p) (0.2 f(0, 1) + 0.8 f(0, 0))), q(1) = 0.2 + 0.5 p
    both, one, none = 1.55**2, 0.55**2, 0.2 * 0.55**2 + 0.8 * 0.45**2
    cubic, square = 0.5 * (both - one), 0.2 * both + 0.8 * one - none
    h = f.hvp({"p": at}, {"p": 1.0})
    assert h.grad["p"] == pytest.approx(6.0 * cubic * at + 2.0 * square, rel=1e-12)


def test_the_steps_of_a_loop_at_probability_0():
    g = scg.Graph("chain")
    t = g.param("t")

    def step(carry, x):
        z = g.sample("z", scg.Bernoulli(probs=0.5 * t + 0.3 * carry))
        g.cost("c", (z - x) ** 2 * t)
        return z, None

    g.scan(step, 0.0, xs=np.linspace(0.0, 1.0, 4))
    h = scg.compile(g, strategy=scg.Enumerate(), backend="numpy").hvp({"t": 0.0}, {"t": 1.0})
    ahead, here = (scg.exact(g, {"t": at}).grad["t"] for at in (STEP, 0.0))
    assert h.grad["t"] == pytest.approx((ahead - here) / STEP, rel=1e-4)


def test_orders():
    g = PROBLEMS["bernoulli_toy"]().graph
    with pytest.raises(scg.DeclarationError, match="order=3"):
        scg.compile(g, order=3)
    large = scg.Graph("large")
    large.cost("c", (large.param("w", 300) ** 2).sum())
    with pytest.raises(scg.DeclarationError, match=r"300 elements.*f\.hvp"):
        scg.compile(large, order=2, backend="numpy")


def test_a_hessian_is_not_exported(tmp_path):
    f = scg.compile(PROBLEMS["bernoulli_toy"]().graph, order=2)
    with pytest.raises(scg.DeclarationError, match=r"order 2.*one kernel"):
        f.export(tmp_path / "hessian.py")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["bernoulli_toy", *some(["tiny_net", "scan_3_steps"], ())])
def test_compiled(name):
    """The compiled kernel gives what the reference does."""
    problem = PROBLEMS[name]()
    direction = in_direction(problem)
    by_backend = [scg.compile(problem.graph, backend=b).hvp(problem.values, direction, samples=100, rng=3)
                  for b in ("numpy", "numba")]
    for target in direction:
        np.testing.assert_allclose(*(h.grad[target] for h in by_backend), rtol=1e-9, atol=1e-12)


def test_a_kink_that_no_draw_spreads_says_what_would_work():
    """No score can help where the parameters do not move the draw; where they do, the policy scores it."""
    for rule in (None, scg.ScoreFunction()):
        g = scg.Graph("call")
        s, e = g.param("s"), g.sample("e", scg.Normal(0.0, 1.0))
        g.cost("pay", np.maximum(s * np.exp(0.2 * e) - 1.0, 0.0))
        with pytest.raises(scg.ConditionError) as caught:
            scg.compile(g, order=2, strategy=rule, backend="numpy")
        said = str(caught.value)
        assert 'derivative of cost "pay"' in said and "kink of maximum(" in said
        assert "Normal(log(p), 0.2)" in said and "ScoreFunction" not in said and "along pay" not in said
    g = scg.Graph("moved")
    x = g.sample("x", scg.Normal(np.log(g.param("s")), 0.2))
    g.cost("pay", np.maximum(np.exp(x) - 1.0, 0.0))
    r = scg.compile(g, order=2, backend="numpy")({"s": 1.0}, samples=4000, rng=0)
    exact = 1.0 / (0.2 * np.sqrt(2.0 * np.pi))  # E Y² δ(s Y − 1) is the density of Y = exp(0.2 z) at 1, for s = 1
    assert abs(r.hessian["s"]["s"] - exact) < 5.0 * r.hessian_stderr["s"]["s"]


def test_chains_have_first_derivatives_only():
    g = scg.Graph("bit")
    s = g.param("s")

    def step(y):
        g.cost("level", y)
        return g.sample("y", scg.Bernoulli(probs=s + 0.5 * y))

    g.chain(step, init=0.0, burn_in=5, horizon=40)
    with pytest.raises(scg.EstimatorError, match=r"first derivatives.* differences of gradients"):
        scg.compile(g, order=2, strategy=scg.SPWD(truncation=1), backend="numpy")
    r = scg.compile(g, strategy=scg.Phantoms(truncation=2), backend="numpy")({"s": 0.2}, samples=200, rng=0)
    apart = [note for note in r.notes if "had not met after 2 steps" in note]  # a half stays apart at every step
    assert len(apart) == 1 and f"{100.0 * r.coupling.uncoupled:.2g} %" in apart[0] and "truncation=10" in apart[0]


BITS = np.array([1.0, 2.0, -3.0])


def of_bits(g):
    return g.sample("b", scg.Bernoulli(logits=g.param("t", 3))) @ BITS


def of_words(g):
    return g.sample("b", scg.OneHotCategorical(logits=g.param("t", 3)), shape=2).sum(axis=0) @ BITS


@pytest.mark.parametrize("strategy, made", [
    (scg.DoubleCV(eta=1.0, group=2), of_bits), (scg.DoubleCV(eta=1.0, group=2), of_words),
    (scg.RODEO(eta=1.0, group=2), of_bits), (scg.RODEO(eta=1.0, group=2, units=3), of_bits),
], ids=["slopes of bits", "slopes of words", "flips", "a net of flips"])
def test_baselines_of_other_replicates_are_made_of_ones_own_draws_too(strategy, made):
    """In groups of two, where a control variate that took them for others' would be far off."""
    g = scg.Graph("sum")
    g.cost("c", (made(g) - 0.4) ** 2)
    values, direction = {"t": np.array([0.3, -0.7, 1.1])}, {"t": np.array([0.5, 1.0, -0.7])}
    exact = scg.compile(g, strategy=scg.Enumerate(), backend="numpy").hvp(values, direction, samples=1).grad["t"]
    f = scg.compile(g, strategy=strategy, backend="numpy")
    r = f.hvp({**f.init(0), **values}, direction, samples=8000, rng=1)
    assert np.all(np.abs(r.grad["t"] - exact) < 5.0 * r.stderr["t"])


def in_steps(g, t, y):
    return g.scan(lambda total, i: (total + t[i], None), 0.0, y)[0]


@pytest.mark.parametrize("look_up", [
    lambda g, t, y: t[y].sum(), lambda g, t, y: (scg.one_hot(y, 3) @ t).sum(), in_steps,
    lambda g, t, y: scg.take(np.array([1.0, 5.0]), y).sum() + t[y].sum(),
], ids=["index", "one_hot", "steps", "literal table"])
def test_given_numbers_index_tables(look_up):
    """Along the path the cost is (2 s + ε)², s the sum of what is looked up: of each row the Hessian is 8 n nᵀ."""
    g = scg.Graph("look_up")
    s = look_up(g, g.param("t", 3), g.data("y", 2))
    g.cost("c", (g.sample("z", scg.Normal(s, 1.0)) + s) ** 2)
    f = scg.compile(g, order=2, backend="numpy")
    y, direction = np.array([[0, 1], [1, 1], [0, 0]]), np.array([0.5, 1.0, -0.7])
    counts = np.array([[np.sum(row == i) for i in range(3)] for row in y])
    exact = np.mean([8.0 * n * (n @ direction) for n in counts], axis=0)
    r = f.hvp({"t": np.ones(3), "y": y}, {"t": direction}, samples=4, rng=0)
    np.testing.assert_allclose(r.grad["t"], exact, rtol=1e-12)
    with pytest.raises(scg.SCGError, match=r"from 0 to [12]"):
        f.hvp({"t": np.ones(3), "y": y + 2}, {"t": direction}, samples=4, rng=0)
