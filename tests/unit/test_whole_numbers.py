"""Whole numbers index: those of data and inputs, and those that a loop carries, as one writes them on paper."""

from __future__ import annotations

import numpy as np
import pytest

import scg

BACKENDS = ["numpy", "numba"]


def sigmoid(a):
    """The logistic function, of complex numbers too."""
    return 1 / (1 + np.exp(-a))


def softmax(a):
    """Probabilities along the last dimension, of complex logits too."""
    e = np.exp(a)
    return e / e.sum(axis=-1, keepdims=True)


def slope(f, x):
    """The derivative of an analytic function of an array, by a complex step."""
    x = np.asarray(x, dtype=complex)
    out = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = x.copy()
        step[i] += 1e-30j
        out[i] = np.imag(f(step)) / 1e-30
    return out


NEXT = np.array([[1, 2], [2, 0], [0, 1]])  # of state and action
REWARD = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.3]])


def decisions(start=0):
    """A tabular decision process: policy logits θ[s], reward R[s, a], a next state drawn from P[s, a] or looked up."""
    g = scg.Graph("mdp")
    theta = g.param("theta", (3, 2))
    reward, table = g.node("R", REWARD), g.node("next", NEXT)

    def step(s, _):
        a = g.sample("a", scg.Categorical(logits=theta[s]))
        g.cost("r", -reward[s, a])
        return table[s, a], None

    g.scan(step, g.input("start") if start is None else start, length=3)
    return g


def expected_reward(theta):
    """The same, by the distribution of the state."""
    p, total = np.array([1.0, 0.0, 0.0], dtype=complex), 0.0
    for _ in range(3):
        joint = p[:, None] * softmax(theta)
        total = total - (joint * REWARD).sum()
        p = sum(joint[s == NEXT].sum() * np.eye(3)[s] for s in range(3))
    return total


THETA = np.array([[0.1, -0.2], [0.3, 0.5], [-0.4, 0.2]])


@pytest.mark.parametrize("start", [0, None], ids=["literal", "input"])
def test_a_decision_process(start):
    values = {"theta": THETA} | ({"start": 0} if start is None else {})
    right = slope(expected_reward, THETA)
    g = decisions(start)
    np.testing.assert_allclose(scg.exact(g, values).grad["theta"], right, atol=1e-12)
    assert scg.verify(scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy"), values).passed


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_decision_process_is_estimated(backend):
    r = scg.compile(decisions(), strategy=scg.ScoreFunction(), backend=backend)({"theta": THETA}, samples=20_000, rng=0)
    assert np.all(np.abs(r.grad["theta"] - slope(expected_reward, THETA)) < 5 * r.stderr["theta"])


def test_the_value_of_the_state_as_baseline():
    """The exact law of θ[s] with the baseline V[s], a table of its own."""
    g, kept = scg.Graph("mdp"), {}
    theta, v = g.param("theta", (3, 2)), g.input("V", 3)

    def step(s, _):
        kept["V"] = v[s]
        a = g.sample("a", scg.Categorical(logits=theta[s]))
        g.cost("r", -scg.take(REWARD, s)[a])
        return scg.take(NEXT, s)[a], None

    g.scan(step, 0, length=3)
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.Expression(kept["V"])), backend="numpy")
    values = {"theta": THETA, "V": [0.3, -1.0, 2.0]}
    assert scg.verify(f, values).passed
    np.testing.assert_allclose(scg.exact(g, values).grad["theta"], slope(expected_reward, THETA), atol=1e-12)


OBSERVED = np.array([[0, 2, 1], [1, 1, 0]])


def hidden_markov(theta, emission, rows):
    """−mean over rows of E log B[z_t, y_t], with z_t a chain of logits θ[z_{t−1}] from z = 1."""
    total = 0.0
    for y in rows:
        p = np.array([0.0, 1.0], dtype=complex)
        for label in y:
            p = p @ softmax(theta)
            total = total - p @ np.log(softmax(emission))[:, label]
    return total / len(rows)


@pytest.mark.parametrize("how", ["one index", "two indices", "log_prob"])
def test_a_chain_that_emits_labels_of_the_data(how):
    g = scg.Graph("hmm")
    theta, emission, y = g.param("theta", (2, 2)), g.param("B", (2, 3)), g.data("y", 3)

    def step(z, label):
        z = g.sample("z", scg.Categorical(logits=theta[z]))
        if how == "log_prob":
            g.cost("c", -scg.Categorical(logits=emission[z]).log_prob(label))
        else:
            table = scg.log_softmax(emission)
            g.cost("c", -(table[z, label] if how == "two indices" else table[z][label]))
        return z, None

    g.scan(step, 1, y)
    values = {"theta": [[0.2, -0.3], [0.6, 0.1]], "B": [[0.1, 0.5, -0.2], [0.3, -0.4, 0.0]], "y": OBSERVED}
    exact = scg.exact(g, values)
    right = slope(lambda t: hidden_markov(t, values["B"], OBSERVED), values["theta"])
    np.testing.assert_allclose(exact.grad["theta"], right, atol=1e-12)
    right = slope(lambda b: hidden_markov(np.array(values["theta"]), b, OBSERVED), values["B"])
    np.testing.assert_allclose(exact.grad["B"], right, atol=1e-12)
    assert scg.verify(scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy"), values).passed


@pytest.mark.by_python
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("start", ["data", "input", "sample"])
def test_a_state_that_begins_with_what_is_given(start, backend):
    """Two steps of a chain of coins with logits w[s]; E of their sum, from s given per row, per call, or drawn."""
    g = scg.Graph("chain")
    w = g.param("w", 2)
    first = {"data": lambda: g.data("s"), "input": lambda: g.input("s"),
             "sample": lambda: g.sample("s", scg.Bernoulli(probs=0.5))}[start]()  # fmt: skip

    def step(s, _):
        new = g.sample("b", scg.Bernoulli(logits=w[s]))
        g.cost("c", 1.0 * new)
        return new, None

    g.scan(step, first, length=2)

    def cost(w):
        p = sigmoid(w)
        return sum(p[s] + p[s] * p[1] + (1 - p[s]) * p[0] for s in (0, 1)) / 2

    given = {"data": {"s": [0, 1]}, "input": {"s": 1}, "sample": {}}[start]
    right = slope(cost if start != "input" else lambda w: sigmoid(w)[1] * (1 + sigmoid(w)[1] - sigmoid(w)[0])
                  + sigmoid(w)[0], [0.1, -0.2])  # fmt: skip
    strategy = scg.Enumerate() if backend == "numpy" else scg.ScoreFunction()  # worlds in kernels: test_backends
    r = scg.compile(g, strategy=strategy, backend=backend)({"w": [0.1, -0.2]} | given, rng=0, samples=4000)
    assert np.all(np.abs(r.grad["w"] - right) <= 5 * r.stderr["w"] + 1e-12)


TABLE = np.arange(24.0).reshape(2, 3, 4) ** 1.5
PLACES = {
    "pairs": lambda t, i, j: t[i, j], "with a slice between": lambda t, i, j: t[i, :, j],
    "after a slice": lambda t, i, j: t[:, j, j + 1], "with an integer": lambda t, i, j: t[1, :, j],
    "with an array": lambda t, i, j: t[i, [2, 0, 1]], "scalars": lambda t, i, j: t[i[0], j[1]],
    "scalar and array": lambda t, i, j: t[i[1], j], "all pairs": lambda t, i, j: t[i[:, None], j[None, :], 0],
    "three": lambda t, i, j: t[i, j, j + 1], "from the end": lambda t, i, j: t[i, -1, ::2],
    "products": lambda t, i, j: t[i * i, j - i * 0, (i + j) % 4],
    "minimum": lambda t, i, j: t[np.minimum(i, 1), np.abs(j)],
}  # fmt: skip


@pytest.mark.parametrize("how", PLACES)
def test_indices_go_together_as_numpys_do(how):
    """Values are those of NumPy, and so is the derivative by the table: how often each entry is used."""
    build = PLACES[how]
    g = scg.Graph("places")
    t, i, j = g.param("t", TABLE.shape), g.data("i", 3), g.data("j", 3)
    picked = g.node("picked", build(t, i, j))
    g.cost("c", picked.sum())
    rows = {"i": np.array([[0, 1, 1], [1, 0, 0]]), "j": np.array([[2, 0, 1], [1, 1, 2]])}
    r = scg.compile(g, backend="numpy")({"t": TABLE} | rows, rng=0, record="picked")
    counts = np.zeros(TABLE.shape)
    for row in range(2):
        where = tuple(rows[n][row] for n in "ij")
        np.testing.assert_array_equal(r.record["picked"][row, 0], build(TABLE, *where))
        ids = build(np.arange(TABLE.size).reshape(TABLE.shape), *where)
        np.add.at(counts.reshape(-1), ids.reshape(-1), 0.5)
    np.testing.assert_allclose(r.grad["t"], counts)


def test_an_index_that_leaves_its_dimension_does_not_enter_another():
    """t[0, 3] of two by three is not t[1, 0]."""
    g = scg.Graph("out")
    t, k = g.param("t", (2, 3)), g.sample("k", scg.Poisson(rate=2.0), shape=2)
    g.cost("c", t[np.array([0, 1]), k].sum())
    with pytest.raises(scg.NonFiniteError, match="index left its table"):
        scg.compile(g, backend="numpy")({"t": np.ones((2, 3))}, samples=200, rng=0)


USES = {"table": lambda w, y: w[y], "one_hot": lambda w, y: (scg.one_hot(y, 3) * w).sum(),
        "sum": lambda w, y: w[y + y - y], "two": lambda w, y: scg.stack([w, w])[[0, 1], y].sum(),
        "compared": lambda w, y: scg.where(w[y] > 1.5, 1.0, 2.0) + 0.0 * w[0]}  # fmt: skip


@pytest.mark.by_python
@pytest.mark.parametrize(("use", "bad", "backend"), [
    *((use, bad, "numpy") for use in USES for bad in (3, -1, 0.5)), ("table", 3, "numba"), ("one_hot", 0.5, "numba")])
def test_labels_are_looked_at_when_called(use, bad, backend):
    """The error names the row, the value and the size; the function is as good as before."""
    g = scg.Graph("labels")
    w, y = g.param("w", 3), g.data("y")
    g.cost("c", USES[use](scg.stop_gradient(w) if use == "compared" else w, y))
    f = scg.compile(g, backend=backend)
    good = {"w": [1.0, 2.0, 3.0], "y": [0, 2, 2, 1]}
    before = f(good, rng=0).cost
    with pytest.raises(scg.CallError, match=rf"In row 2 it is {bad:g}.*from 0 to 2.*length 3"):
        f(good | {"y": [0, 2, bad, 1]}, rng=0)
    with pytest.raises(scg.CallError, match=rf"In row 2 it is {bad:g}"):
        f(good | {"y": [0, 2, bad, 1]}, samples=100, rng=0)
    assert f(good, rng=0).cost == before


def test_labels_in_a_loop_are_looked_at_when_called():
    g = scg.Graph("labels")
    w, y = g.param("w", 3), g.data("y", 2)
    g.scan(lambda c, label: (c, g.cost("c", w[label])), 0.0, y)
    f = scg.compile(g, backend="numpy")
    np.testing.assert_allclose(f({"w": np.zeros(3), "y": [[0, 1], [1, 1]]}, rng=0).grad["w"], [0.5, 1.5, 0.0])
    for compute in (lambda v: f(v, rng=0), lambda v: scg.exact(g, v)):
        with pytest.raises(scg.CallError, match="from 0 to 2"):
            compute({"w": np.zeros(3), "y": [[0, 1], [1, 5]]})


def labelled():
    """A site whose mean is looked up by a label, and another whose scale is not."""
    g = scg.Graph("labelled")
    t, y = g.param("t", 3), g.data("y")
    z = g.sample("z", scg.Normal(np.tanh(t[y]), 1.0)) + g.sample("other", scg.Bernoulli(probs=g.input("p")))
    g.cost("c", z * (scg.one_hot(y, 3) @ t))
    return g


def test_what_indexes_reads_as_it_was_written():
    """In the graph and in the surrogate: that it must be an index is not in the user's words."""
    g = labelled()
    for text in (str(g), str(g.surrogate())):
        assert "t[y]" in text and "one_hot(y, 3) @ t" in text
        assert "floor" not in text and "nan" not in text


def test_a_wrong_index_is_said_first_and_what_follows_from_it_is_not():
    g, values = labelled(), {"t": np.ones(3), "y": [0, 5], "p": 1.5}
    f = scg.compile(g, backend="numpy")
    with pytest.raises(scg.CallError) as found:
        f(values, rng=0)
    *first, last = str(found.value).splitlines()
    assert len(first) == 2 and all("by y. In row 1 it is 5" in line for line in first)
    assert "probs" in last and "loc" not in str(found.value)


def test_a_label_that_a_choice_leaves_out_has_no_say():
    """Missing labels are −1: a choice before the table's value, or the index, is used. Σ over the others."""
    g = scg.Graph("missing")
    w, y = g.param("w", 3), g.data("y")
    g.cost("value", scg.where(y >= 0, w[y], 0.0))
    g.cost("index", w[scg.where(y >= 0, y, 0)])
    f = scg.compile(g, backend="numpy")
    np.testing.assert_allclose(f({"w": np.ones(3), "y": [0, -1, 2, 2]}, rng=0).grad["w"], [0.75, 0.0, 1.0])
    with pytest.raises(scg.SCGError):
        f({"w": np.ones(3), "y": [0, 7, 2, 2]}, rng=0)


REFUSED = {
    "a carry that a step halves": lambda g, w: g.scan(lambda s, _: (0.5 * s, g.cost("c", w[s])), 0, length=2),
    "a carry that begins between": lambda g, w: g.scan(lambda s, _: (s, g.cost("c", w[s])), 0.5, length=2),
    "a carry through another": lambda g, w: g.scan(
        lambda s, _: ((s[1], s[0] / 3.0), g.cost("c", w[s[0]])), (0, 0), length=2),
    "a param": lambda g, w: g.cost("c", w[w[0]]), "a quotient of data": lambda g, w: g.cost("c", w[g.data("y") / 2]),
    "a normal": lambda g, w: g.cost("c", w[g.sample("z", scg.Normal(loc=0.0, scale=1.0))]),
    "one_hot of a carry": lambda g, w: g.scan(
        lambda s, _: (s + 0.1, g.cost("c", scg.one_hot(s, 3) @ w)), 0, length=2),
    "a loop in a loop": lambda g, w: g.scan(lambda s, _: (g.scan(
        lambda r, _: (r * 0.5, g.cost("c", w[r])), s, length=2)[0], None), 0, length=2),
    "always outside": lambda g, w: g.cost("c", w[g.sample("b", scg.Bernoulli(probs=0.5)) + 3]),
    "below": lambda g, w: g.cost("c", w[-1 - g.sample("b", scg.Bernoulli(probs=0.5))]),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_need_not_be_an_index_is_refused_where_it_is_used(how):
    g = scg.Graph("refused")
    with pytest.raises(scg.ShapeError, match=r"test_whole_numbers.py:\d+.*(need not be integers|values run from)"):
        REFUSED[how](g, g.param("w", 3))


def test_a_carry_of_several_parts():
    """(count, last): the count is a sum of draws, the last one of them; both index, at no cost in checks."""
    g = scg.Graph("parts")
    w, v = g.param("w", 4), g.param("v", 2)

    def step(state, _):
        count, last = state
        b = g.sample("b", scg.Bernoulli(logits=w[count] + v[last]))
        g.cost("c", 1.0 * b)
        return (count + b, scg.where(count > 0, b, last)), None

    g.scan(step, (0, 0), length=3)

    def cost(w):
        total, paths = 0.0, {(0, 0): 1.0 + 0j}
        for _ in range(3):
            new: dict = {}
            for (count, last), p in paths.items():
                q = sigmoid(w[count] + w[4 + last])
                total = total + p * q
                for b, r in ((0, 1 - q), (1, q)):
                    key = (count + b, b if count > 0 else last)
                    new[key] = new.get(key, 0.0) + p * r
            paths = new
        return total

    values = {"w": [0.1, -0.3, 0.4, 0.0], "v": [0.2, -0.1]}
    exact = scg.exact(g, values)
    right = slope(cost, [*values["w"], *values["v"]])
    np.testing.assert_allclose([*exact.grad["w"], *exact.grad["v"]], right, atol=1e-12)


@pytest.mark.parametrize("index", ["scalar", "several", "pair", "in a list"])
def test_an_array_of_numpys_by_a_node_says_what_to_write(index):
    g = scg.Graph("arrays")
    k = g.sample("k", scg.Bernoulli(probs=0.5), shape=() if index != "several" else 3)
    uses = {"scalar": lambda: REWARD[k], "several": lambda: REWARD[k], "pair": lambda: REWARD[k, 0],
            "in a list": lambda: [1.0, 2.0][k]}
    with pytest.raises(scg.NodeUseError, match=r"scg\.take\(R, k\).*g\.node\(\"R\", R\)\[k\]"):
        uses[index]()


def test_take_is_what_the_error_says():
    g = scg.Graph("take")
    k, m = g.data("k"), g.data("m", (2, 2))
    R = g.node("R", REWARD)
    wanted = {"a": scg.take(REWARD, k), "b": R[k], "c": scg.take(REWARD, m), "d": R[m],
              "e": scg.take(REWARD, m - m % 2 * m, axis=1), "f": scg.take(REWARD.tolist(), m, axis=None)}  # fmt: skip
    for name, node in wanted.items():
        g.node(name, node)
    g.cost("cost", k)
    m = np.array([[0, 1], [1, 0]])
    r = scg.compile(g, backend="numpy")({"k": [2], "m": [m]}, rng=0, record=tuple(wanted)).record
    right = [REWARD[2], REWARD[2], REWARD[m], REWARD[m], np.take(REWARD, m - m % 2 * m, axis=1), REWARD.ravel()[m]]
    for name, value in zip(wanted, right):
        np.testing.assert_array_equal(r[name][0, 0], value)


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize("strategy", [scg.Enumerate(), scg.LocalExpectation(), scg.ScoreFunction(),
                                      {"k": scg.Enumerate(), "j": scg.Enumerate()}], ids=repr)
def test_labels_beside_a_site_that_is_summed_out(in_loop, strategy):
    """The row and the number are those of a world that can come about: never their mean over worlds."""
    g = scg.Graph("labels")
    w, d = g.param("w", 3), g.data("d")

    def step(c, x):
        j = g.sample("j", scg.Bernoulli(probs=0.5)) if isinstance(strategy, dict) else 0.0
        k = g.sample("k", scg.Categorical(logits=[0.0, 0.0, -np.inf])) + 0.0 * j  # never 2
        g.cost("c", w[k + d])
        return c, None

    g.scan(step, 0.0, length=2) if in_loop else step(0.0, None)
    f = scg.compile(g, strategy=strategy, backend="numpy")
    values = {"w": [0.1, 0.2, 0.3]}
    f(values | {"d": [0.0, 1.0]}, samples=50, rng=0)
    with pytest.raises(scg.CallError, match=r"In row 1 it is 3, .*from 0 to 2"):
        f(values | {"d": [1.0, 2.0]}, samples=50, rng=0)
