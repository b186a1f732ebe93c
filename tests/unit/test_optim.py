"""Optimisers are the published rules, and `fit` is the loop that one would write by hand."""

from __future__ import annotations

import io
import math
import pickle
import sys

import numpy as np
import pytest

import scg
from scg import optim


# --- the rules, as PyTorch's pages on torch.optim.SGD and torch.optim.AdamW write them --------------------------------
def by_sgd(theta, grads, lr, momentum, nesterov, weight_decay):
    """``for t = 1 to …``, without dampening; ``b`` is the momentum buffer."""
    b = None
    for t, g in enumerate(grads, start=1):
        if weight_decay != 0:
            g = g + weight_decay * theta
        if momentum != 0:
            b = momentum * b + g if t > 1 else g
            g = g + momentum * b if nesterov else b
        theta = theta - lr(t - 1) * g
    return theta


def by_adamw(theta, grads, lr, beta1, beta2, eps, weight_decay):
    """``for t = 1 to …``, without AMSGrad; with weight_decay=0 that is Adam's."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(grads, start=1):
        theta = theta - lr(t - 1) * weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - lr(t - 1) * m_hat / (np.sqrt(v_hat) + eps)
    return theta


def constant_rate(step):
    return 0.05


def falling_rate(step):
    return 0.1 / (1 + step)


def descended(optimiser, theta, grads):
    """The value after all gradients, one a step."""
    values, state = {"w": theta, "x": "stays"}, None
    for g in grads:
        values, state = optimiser(values, {"w": g}, state)
    assert values["x"] == "stays" and state["step"] == len(grads)
    return values["w"]


def a_descent(dtype):
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 2)).astype(dtype), [rng.normal(size=(3, 2)).astype(dtype) for _ in range(7)]


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-14), (np.float32, 2e-6)])
@pytest.mark.parametrize("rate", [constant_rate, falling_rate])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_rules(dtype, tolerance, rate, decay):
    theta, grads = a_descent(dtype)
    given = 0.05 if rate is constant_rate else rate
    for momentum, nesterov in ((0.0, False), (0.9, False), (0.9, True)):
        found = descended(optim.sgd(given, momentum=momentum, nesterov=nesterov, weight_decay=decay), theta, grads)
        np.testing.assert_allclose(found, by_sgd(theta, grads, rate, momentum, nesterov, decay), rtol=tolerance, atol=0)
        assert found.dtype == dtype
    for beta1, beta2 in ((0.9, 0.999), (0.0, 0.5)):
        found = descended(optim.adam(given, betas=(beta1, beta2), eps=1e-3, weight_decay=decay), theta, grads)
        expected = by_adamw(theta, grads, rate, beta1, beta2, 1e-3, decay)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)
        assert found.dtype == dtype


def test_the_first_step_of_adam_is_the_rate():
    values, _ = optim.adam(0.1)({"a": 1.0, "b": [1.0, 2.0]}, {"a": 1e-3, "b": np.array([-50.0, 0.0])})
    np.testing.assert_allclose(values["a"], 0.9, rtol=1e-5)
    np.testing.assert_allclose(values["b"], [1.1, 2.0], rtol=1e-9)


def test_decay_by_name_is_of_these_alone():
    """Weights decay, as a rule, and biases do not."""
    given, grads = {"W": np.ones(2), "b": np.ones(2)}, {"W": np.zeros(2), "b": np.zeros(2)}
    for optimiser in (optim.adam(0.1, weight_decay={"W": 0.5}), optim.sgd(0.1, weight_decay={"W": 0.5})):
        values, _ = optimiser(given, grads)
        np.testing.assert_allclose(values["W"], 0.95)
        np.testing.assert_array_equal(values["b"], 1.0)


def test_a_value_that_comes_later_has_averages_of_its_own():
    """Adam's corrections count the gradients of each value."""
    adam = optim.adam(0.1)
    values, state = adam({"a": 0.0, "b": 0.0}, {"a": 1.0})
    values, state = adam(values, {"a": 1.0, "b": 1.0}, state)
    np.testing.assert_allclose(values["b"], -0.1)
    again, _ = adam(values, {"a": 1.0}, pickle.loads(pickle.dumps(state)))
    assert again["a"] < values["a"] and again["b"] == values["b"]


def test_arrays_that_are_given_are_left_as_they_are():
    theta, grad = np.ones(3), np.ones(3)
    for optimiser in (optim.adam(0.1, weight_decay=0.1), optim.sgd(0.1, momentum=0.9, weight_decay=0.1)):
        values, state = optimiser({"w": theta}, {"w": grad})
        frozen = pickle.dumps(state)
        optimiser(values, {"w": grad}, state)
        assert pickle.dumps(state) == frozen and np.all(theta == 1.0) and np.all(grad == 1.0)


# --- the loop --------------------------------------------------------------------------------------------------------
def model():
    """A graph with all that a loop must carry: data, an input, initial values, a moving average, a learned baseline."""
    g = scg.Graph("small")
    x, y, scale = g.data("x", 2), g.data("y"), g.input("scale")
    w = g.param("w", 2, init=lambda rng, shape: rng.normal(size=shape))
    theta = g.param("theta")
    predicted = scg.nn.dense(g, "baseline", x, ())
    b = g.sample("b", scg.Bernoulli(logits=x @ w), estimator=scg.ScoreFunction(
        baseline=scg.Learned(predicted, centre=True)))
    k = g.sample("k", scg.Bernoulli(logits=theta), per_row=True, estimator=scg.ScoreFunction(
        baseline=scg.MovingAverage()))
    g.cost("fit", scale * (b - y) ** 2)
    g.cost("coin", (k - 0.45) ** 2)
    return scg.compile(g, backend="numpy")


@pytest.fixture(scope="module")
def f():
    return model()


def given(rows=5):
    rng = np.random.default_rng(1)
    return {"x": rng.normal(size=(rows, 2)), "y": rng.integers(0, 2, size=rows), "scale": 2.0, "theta": 0.3}


ADAM = optim.adam(0.05)
QUIET = {"progress": False}


def test_a_fit_is_the_loop_by_hand(f):
    values, seen = given(), []
    run = optim.fit(f, values, ADAM, steps=7, samples=3, batch=2, rng=4, watch=lambda *shown: seen.append(shown),
                    **QUIET)
    params, state, carried = {**f.init(4), "theta": 0.3}, None, None
    assert params.keys() == {"w", "theta", "W_baseline", "b_baseline"} == run.values.keys()
    costs = []
    for number, (step, shown, estimate) in enumerate(seen):
        assert step == number
        rows = [int(np.flatnonzero((values["x"] == row).all(axis=1))[0]) for row in shown["x"]]
        batch = {**values, "x": values["x"][rows], "y": values["y"][rows]}
        r = f({**batch, **params}, samples=3, rng=estimate.seed, state=carried)
        carried = r.state
        costs.append(r.cost)
        params, state = ADAM(params, r.grad, state)
    for name in params:
        np.testing.assert_array_equal(run.values[name], params[name])
        assert np.any(params[name] != {**f.init(4), "theta": 0.3}[name]), "all of them learn"
    assert run.steps == 7 and run.ended == "steps" and run.seed == 4
    np.testing.assert_array_equal(run.history["cost"], costs)
    np.testing.assert_allclose(run.history["costs"]["fit"] + run.history["costs"]["coin"], costs)
    assert all(np.all(run.state[name] == carried[name]) for name in carried) and run.state.keys() == carried.keys()


def test_every_epoch_has_each_row_once_in_another_order(f):
    values, seen = given(rows=5), []
    optim.fit(f, values, steps=9, batch=2, rng=0, watch=lambda step, at, r: seen.append(at["x"]), **QUIET)
    assert [len(x) for x in seen] == [2, 2, 1] * 3
    epochs = [np.concatenate(seen[i : i + 3]) for i in (0, 3, 6)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(values["x"], axis=0))
    assert len({epoch.tobytes() for epoch in epochs}) == 3


def test_a_fit_goes_on_as_one_longer_fit(f):
    """With the same rows, noise, averages and states, whatever was said between."""
    values, options = given(), {"samples": 2, "batch": 2, **QUIET}
    whole = optim.fit(f, values, ADAM, steps=8, rng=3, **options)
    first = optim.fit(f, values, ADAM, steps=5, rng=3, **options)
    rest = optim.fit(f, values, ADAM, steps=3, after=pickle.loads(pickle.dumps(first)), **options)
    assert rest.steps == whole.steps == 8 and rest.seed == 3
    for name, value in whole.values.items():
        np.testing.assert_array_equal(rest.values[name], value)
    np.testing.assert_array_equal([*first.history["cost"], *rest.history["cost"]], whole.history["cost"])
    other = optim.fit(f, values, ADAM, steps=3, after=first, rng=5, **options)
    assert np.any(other.values["w"] != whole.values["w"])


def test_what_a_fit_goes_on_with_may_be_another_optimiser():
    """Of another kind, that begins; its own state is kept, and a function is given the state that there is."""
    f = quadratic()
    first = optim.fit(f, {}, ADAM, steps=3, **QUIET)
    seen = []
    by_hand = optim.sgd(0.1)({**first.values}, f({**first.values}).grad)[0]
    rest = optim.fit(f, {}, optim.sgd(0.1), steps=1, after=first, **QUIET)
    assert rest.values["t"] == by_hand["t"] and rest.optimiser_state["step"] == 1 and rest.steps == 4
    assert optim.fit(f, {}, optim.adam(0.01), steps=1, after=first, **QUIET).optimiser_state["step"] == 4
    optim.fit(f, {}, lambda v, g, s: (seen.append(s), ADAM(v, g, s))[1], steps=1, after=first, **QUIET)
    assert seen == [first.optimiser_state]


def test_params_beside_a_fit_to_go_on_from_are_not_dropped():
    """Those that the first fit was given may be given again: then values are one dict for all fits."""
    f, values = quadratic(), {"t": 2.0}
    first = optim.fit(f, values, ADAM, steps=2, **QUIET)
    second = optim.fit(f, values, ADAM, steps=2, after=first, **QUIET)
    third = optim.fit(f, {**second.values}, ADAM, steps=2, after=second, **QUIET)
    assert optim.fit(f, values, ADAM, steps=6, **QUIET).values == third.values
    assert optim.fit(f, values, ADAM, steps=2, after=second, **QUIET).values == third.values
    with pytest.raises(scg.CallError, match=r'"t" was given beside after=.*Leave "t" out'):
        optim.fit(f, {"t": 2.5}, ADAM, steps=2, after=second, **QUIET)


def quadratic(**options):
    g = scg.Graph("bowl")
    g.cost("c", (g.param("t", init=3.0) - 1.0) ** 2)
    return scg.compile(g, backend="numpy", **options)


def test_patience_returns_the_best():
    looks = iter([5.0, 4.0, 4.5, 4.0, 3.0])
    run = optim.fit(quadratic(), {}, optim.sgd(0.1), steps=100, every=2, patience=2, validate=lambda v: next(looks),
                    **QUIET)
    assert run.ended == "patience" and run.steps == 4 and len(run.history["cost"]) == 8
    np.testing.assert_array_equal(run.history["looked"], [2, 4, 6, 8])
    np.testing.assert_array_equal(run.history["validation"], [5.0, 4.0, 4.5, 4.0])
    np.testing.assert_allclose(run.values["t"], 1.0 + 2.0 * 0.8**4)


def test_patience_without_validation_looks_at_mean_costs():
    bounce = optim.sgd(1.0)  # from 3 to −1 and back
    run = optim.fit(quadratic(), {}, bounce, steps=7, every=3, patience=2, **QUIET)
    assert run.ended == "patience" and run.steps == 3 and len(run.history["cost"]) == 7
    np.testing.assert_array_equal(run.history["validation"], [4.0, 4.0, 4.0])


def test_validation_sees_all_rows_and_the_new_params(f):
    values, seen = given(), []
    run = optim.fit(f, values, steps=3, batch=2, every=2, validate=lambda v: seen.append(v) or 1.0, **QUIET)
    np.testing.assert_array_equal(run.history["looked"], [2, 3])
    assert all(len(v["x"]) == 5 for v in seen)
    np.testing.assert_array_equal(seen[-1]["w"], run.values["w"])


@pytest.mark.parametrize("answer, steps", [(lambda step: step == 3, 4), (lambda step: np.True_, 1),
                                           (lambda step: [step], 9), (lambda step: None, 9)])  # fmt: skip
def test_what_watches_may_end_it(answer, steps):
    run = optim.fit(quadratic(), {}, optim.sgd(0.1), steps=9, watch=lambda step, v, r: answer(step), **QUIET)
    assert run.steps == steps and run.ended == ("watch" if steps < 9 else "steps")


def test_params_in_float64_take_steps_that_float32_would_lose():
    run = optim.fit(quadratic(dtype="float32"), {"t": 2.0}, optim.sgd(1e-9), steps=3, **QUIET)
    assert 2.0 - 7e-9 < run.values["t"] < 2.0 - 5e-9


def test_only_what_is_differentiated_moves():
    g = scg.Graph("two")
    a, b = g.param("a", init=3.0), g.param("b", init=2.0)
    g.cost("c", (a - b) ** 2)
    f = scg.compile(g, backend="numpy", wrt=("a",))
    run = optim.fit(f, {}, optim.sgd(0.1), steps=2, **QUIET)
    assert run.values["b"] == 2.0 and run.values["a"] < 3.0
    assert optim.fit(f, {"b": 5.0}, optim.sgd(0.1), steps=1, after=run, **QUIET).values["b"] == 5.0


def test_a_descent_that_leaves_the_numbers_ends_there():
    with pytest.raises(scg.NonFiniteError, match=r"\(t - 1\)\*\*2 is the first that is not"):
        optim.fit(quadratic(), {}, optim.sgd(1e200), steps=9, **QUIET)
    with pytest.raises(scg.NonFiniteError, match=r'value of "t" after step 1 of SGD'):
        optim.fit(quadratic(), {}, optim.sgd(1e308), steps=1, **QUIET)


def test_an_unpickled_function_is_fitted_from_values():
    f = pickle.loads(pickle.dumps(quadratic()))
    assert optim.fit(f, {"t": 1.0}, steps=2, **QUIET).values["t"] == 1.0
    with pytest.raises(scg.SCGError, match="unpickled"):
        optim.fit(f, {}, steps=2, **QUIET)


def test_the_bar_is_shown_where_somebody_looks(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, quiet, words in ((Terminal(), "", "bowl: 100%"), (io.StringIO(), "", ""), (Terminal(), "1", "")):
        monkeypatch.setenv("SCG_QUIET", quiet)
        monkeypatch.setattr(sys, "stderr", stream)
        optim.fit(quadratic(), {}, steps=2)
        assert words in stream.getvalue() and bool(words) == bool(stream.getvalue())


def test_rates_that_are_arrays_without_dimensions():
    assert optim.adam(np.array(0.1)) == optim.adam(0.1) and optim.sgd(np.float32(0.5)).rate == 0.5


def test_a_fit_in_words(f):
    assert repr(optim.fit(quadratic(), {}, optim.sgd(0.1), steps=2, **QUIET)) == (
        "<Fit of 2 steps, ended by steps: cost 4 at first, 2.56 at last>")
    run = optim.fit(f, given(), steps=1, samples=1, **QUIET)
    assert run.notes == ("one replicate: standard errors are not known",) and "\n" not in repr(run)  # it has none
    g = scg.Graph("coin")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=g.param("t", init=0.3))))
    run = optim.fit(scg.compile(g, backend="numpy"), {}, steps=1, **QUIET)
    assert repr(run).endswith("\n  note  a leave-one-out group of one: its baseline is 0")


# --- what is refused -------------------------------------------------------------------------------------------------
MISUSES = {
    "optim.sgd(-1.0)": "rate=-1.0.*a step size",
    "optim.sgd('a')": "rate='a'",
    "optim.sgd(True)": "rate=True",
    "optim.sgd(math.nan)": "rate=nan",
    "optim.sgd(0.1, momentum=1.0)": "momentum=1.0.*below 1",
    "optim.sgd(0.1, nesterov=True)": "momentum=0",
    "optim.sgd(0.1, weight_decay=-1)": "weight_decay=-1",
    "optim.sgd(0.1, weight_decay={'w': -1})": 'weight_decay=-1.*"w"',
    "optim.sgd()": r"scg\.optim\.sgd\(\) was called.*rate",
    "optim.adam(betas=0.9)": "betas=0.9",
    "optim.adam(betas=(0.9, 1.0))": "betas=1.0",
    "optim.adam(eps=0.0)": "eps",
    "optim.adam(0.1, amsgrad=True)": "amsgrad",
    "optim.sgd(0.1)([1.0], {})": "list was given as values",
    "optim.sgd(0.1)({'w': 1.0}, [1.0])": "list was given as gradients",
    "optim.sgd(0.1)({'w': 1.0}, {'v': 1.0})": 'gradient of "v".*There are: w',
    "optim.sgd(0.1)({'w': np.ones(3)}, {'w': np.ones(2)})": r'shape \(2,\).*\(3,\)',
    "optim.sgd(0.1)({'w': 'a'}, {'w': 1.0})": "no array of real numbers",
    "optim.sgd(0.1, weight_decay={'v': 1})({'w': 1.0}, {'w': 1.0})": "weight_decay= names v",
    "optim.sgd(lambda step: -1)({'w': 1.0}, {'w': 1.0})": "rate at step 0 is -1",
    "optim.sgd(0.1)({'w': 1.0}, {'w': np.inf})": 'value of "w" after step 1 of SGD.*not finite',
    "optim.adam(0.1)({'w': 1.0}, {'w': np.nan})": "not finite",
    "optim.adam(0.1)({'w': 1.0}, {'w': 1.0}, 3)": "state that is not its own",
    "optim.adam(0.1)({'w': 1.0}, {'w': 1.0}, optim.sgd(0.1)({'w': 1.0}, {'w': 1.0})[1])": "keeps mean, square",
    "optim.fit(g, steps=3)": "Graph was given.*scg.compile",
    "optim.fit(f, values, 3, steps=3)": "optimiser=3",
    "optim.fit(f, values)": "missing a required argument: 'steps'",
    "optim.fit(f, values, steps=0)": "steps=0",
    "optim.fit(f, values, steps=2.5)": "steps=2.5",
    "optim.fit(f, values, steps=3, every=None)": "every=None",
    "optim.fit(f, values, steps=3, batch=0)": "batch=0",
    "optim.fit(f, values, steps=3, batch=4)": "batch=4.*have 3 rows",
    "optim.fit(bowl, {}, steps=3, batch=1)": "graph has no data",
    "optim.fit(f, values, steps=3, patience='a')": "patience='a'",
    "optim.fit(f, values, steps=3, validate=3)": "validate=3",
    "optim.fit(f, values, steps=3, validate=lambda v: None)": r"validate\(values\) returned None",
    "optim.fit(f, values, steps=3, validate=lambda v: math.nan)": "returned nan after step 3",
    "optim.fit(f, values, steps=3, watch=3)": "watch=3",
    "optim.fit(f, values, steps=3, after=values)": "after=.*no earlier fit",
    "optim.fit(f, values, steps=3, rng='a')": "rng='a'",
    "optim.fit(bowl, steps=1, progress=False).grad": r"\.grad of a Fit.*watch= is shown every estimate",
    "optim.fit(bowl, steps=1, progress=False).history['loss']": r"history\['loss'\].*It has: cost, costs",
    "optim.fit(bowl, steps=1, progress=False).history.cost": r"Write run\.history\['cost'\]",
    "optim.fit(bowl, steps=1, progress=False).history['costs']['d']": "It has: c.",
    "optim.adam(np.array([0.1]))": "a step size",
    "optim.fit(f, values, steps=3, samples=0)": "samples=0",
    "optim.fit(f, [1.0], steps=3)": "Values of type list",
    "optim.fit(f, {}, steps=3)": '"y" cannot be used. It is missing',
    "optim.fit(f, {**values, 'z': 1.0}, steps=3)": '"z" cannot be used',
    "optim.fit(f, {**values, 'y': [1.0]}, steps=3)": "They have",
    "optim.fit(f, values, lambda *given: 3, steps=3)": "returned 3",
    "optim.fit(f, values, lambda v, g, s: ({}, s), steps=3)": "under the names",
    "optim.fit(scg.compile(g, wrt=('y',), backend='numpy'), values, steps=3)": "is no param: y",
    "optim.fit(scg.compile(g, wrt=(), backend='numpy'), values, steps=3)": "is no param: nothing",
}


@pytest.fixture(scope="module")
def misused():
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t", init=0.3)))
    g.cost("c", (b - g.data("y")) ** 2 + 0.0 * g.data("x"))
    return {"np": np, "scg": scg, "optim": optim, "math": math, "g": g, "f": scg.compile(g, backend="numpy"),
            "bowl": quadratic(), "values": {"t": 0.3, "y": [0.1, 0.2, 0.3], "x": np.ones(3)}}


@pytest.mark.parametrize("call", MISUSES)
def test_misuse(misused, call):
    with pytest.raises(scg.SCGError, match=MISUSES[call]) as caught:
        exec(compile(call, "user.py", "exec"), dict(misused))
    assert str(caught.value).startswith("user.py:1"), caught.value
    (first, *_) = caught.value.problems
    assert first.what and first.why and first.fix
