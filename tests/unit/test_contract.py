"""The public contract: names, arguments, results, and what they mean."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import scg

pytestmark = pytest.mark.parametrize("backend", ("numpy", "numba"))


def toy() -> scg.Graph:
    g = scg.Graph("toy")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - 0.45) ** 2)
    return g


def regression(shared: bool) -> scg.Graph:
    """Rows of data; a weight that all rows share, or that is drawn for each."""
    g = scg.Graph("regression")
    m, x, y = g.param("m", 2), g.data("x", 2), g.data("y")
    w = g.sample("w", scg.Bernoulli(logits=m), per_row=not shared)
    h = g.sample("h", scg.Bernoulli(logits=x @ w))
    g.cost("fit", (h - y) ** 2)
    g.cost("size", (w * np.array([0.1, 0.2])).sum())
    return g


def data(rows: int = 5) -> dict:
    rng = np.random.default_rng(0)
    return {"m": [0.3, -0.2], "x": rng.normal(size=(rows, 2)), "y": rng.normal(size=rows)}


def same(a, b) -> bool:
    """The same bits in every number of two results."""
    pairs = [(a.cost, b.cost), (a.cost_stderr, b.cost_stderr), *zip(a.costs.values(), b.costs.values())]
    pairs += [(a.grad[n], b.grad[n]) for n in a.grad] + [(a.stderr[n], b.stderr[n]) for n in a.stderr]
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


# --- the whole of it -------------------------------------------------------------------------------------------------
def test_at_a_glance(backend, tmp_path):
    g = scg.Graph("toy")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - 0.45) ** 2)

    surrogate = g.surrogate()
    assert {str(s) for s in surrogate.sympy().free_symbols} and surrogate.latex() and str(surrogate)
    f = scg.compile(g, backend=backend)
    r = f({"theta": 0.3}, samples=100_000, rng=0)
    exact = scg.exact(g, {"theta": 0.3})
    assert abs(r.cost - exact.cost) < 5 * r.cost_stderr
    assert abs(r.grad["theta"] - exact.grad["theta"]) < 5 * r.stderr["theta"]
    assert f.surrogate is not None
    assert f.verdict["b"].status == "unbiased" and f.verdict["b"].reason and f.verdict.unbiased
    assert "b" in f.source and "ScoreFunction" in f.explain()
    if backend == "numba":
        f.export(tmp_path / "toy_estimator.py")
        assert (tmp_path / "toy_estimator.py").stat().st_size
    v = scg.verify(f, {"theta": 0.3})
    assert v.method.startswith(f"exact law: the {backend} kernel fed")
    assert v.passed and v.max_error < 1e-12 and v.false_alarm == 0.0


@pytest.mark.by_python(backend="numba")
def test_fields(backend):
    g = regression(shared=False)
    r = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend)(data(), samples=8, rng=3, record=("h", "w", "x"))
    assert isinstance(r.cost, float) and isinstance(r.cost_stderr, float) and r.cost_stderr > 0
    assert set(r.costs) == {"fit", "size"} and abs(sum(r.costs.values()) - r.cost) < 1e-12
    assert (r.samples, r.rows, r.seed) == (8, 5, 3)
    assert set(r.grad) == set(r.stderr) == {"m"} and r.state == {}
    assert r.record["h"].shape == (5, 8) and r.record["w"].shape == (5, 8, 2)
    assert np.array_equal(r.record["x"], np.broadcast_to(data()["x"][:, None], (5, 8, 2)))
    assert isinstance(r.notes, tuple) and repr(r).startswith("Estimate from 8 replicates of each of 5 rows, seed 3\n")
    for array in (r.grad["m"], r.stderr["m"]):
        assert isinstance(array, np.ndarray) and array.shape == (2,) and array.dtype == np.float64


@pytest.mark.by_python(backend="numba")
def test_gradients_in_shape(backend):
    g = scg.Graph("shapes")
    a, b, _ = g.param("a"), g.param("b", (2, 3)), g.param("c", 4)
    x = g.sample("x", scg.Normal(loc=b * a, scale=1.0))
    g.cost("loss", (x**2).sum() + a)
    values = {"a": 0.5, "b": np.ones((2, 3)), "c": np.zeros(4)}
    r = scg.compile(g, backend=backend, stderr=False)(values, samples=4, rng=0)
    assert {n: v.shape for n, v in r.grad.items()} == {"a": (), "b": (2, 3), "c": (4,)}
    assert all(isinstance(v, np.ndarray) for v in r.grad.values()) and not r.grad["c"].any()


@pytest.mark.by_python(backend="numba")
def test_wrt(backend):
    g = scg.Graph("wrt")
    a, b = g.param("a"), g.param("b")
    g.cost("loss", (g.sample("x", scg.Normal(loc=a, scale=scg.exp(b)))) ** 2)
    values = {"a": 0.5, "b": 0.1}
    full = scg.compile(g, backend=backend)(values, samples=50, rng=0)
    one = scg.compile(g, wrt=("b",), backend=backend)(values, samples=50, rng=0)
    none = scg.compile(g, wrt=(), backend=backend)(values, samples=50, rng=0)
    assert set(full.grad) == {"a", "b"} and set(one.grad) == {"b"} and none.grad == {} == none.stderr
    assert np.isclose(one.grad["b"], full.grad["b"], rtol=1e-12)
    assert np.isclose(none.cost, full.cost, rtol=1e-12) and np.isfinite(none.cost_stderr)


def added(graph_of) -> tuple[scg.Graph, scg.Graph]:
    """A graph with wrt= of an input and a node, and one with params of zeros added to both."""
    return graph_of(lambda g, name, node: node), graph_of(lambda g, name, node: node + g.param(f"d {name}", node.shape))


def nodes(plus) -> scg.Graph:
    g = scg.Graph("nodes")
    theta, x = g.param("theta"), plus(g, "x", g.input("x", 2))
    h = plus(g, "h", g.node("h", scg.tanh(theta) * x))
    b = g.sample("b", scg.Bernoulli(logits=h))
    z = g.sample("z", scg.Normal(loc=x.sum() * b.sum(), scale=1.0))
    only = g.sample("only", scg.Bernoulli(logits=x))  # no param reaches it
    g.cost("loss", ((b - 0.45) ** 2).sum() * h.sum() + z**2 + (only * np.array([1.0, 2.0])).sum())
    return g


def test_wrt_nodes_and_inputs(backend):
    """Under both baselines of the reference, and in the shorter of the two kernels."""
    plain, plus = added(nodes)
    values = {"theta": 0.3, "x": [0.5, -0.2]}
    exact = scg.exact(plus, {**values, "d x": np.zeros(2), "d h": np.zeros(2)})
    for strategy in (scg.ScoreFunction(), None)[: 1 if backend == "numba" else 2]:
        f = scg.compile(plain, wrt=("theta", "h", "x"), strategy=strategy, backend=backend)
        r = f(values, samples=40_000, rng=0)
        assert list(r.grad) == ["theta", "h", "x"] and r.grad["h"].shape == r.grad["x"].shape == (2,)
        for name, wanted in (("theta", "theta"), ("h", "d h"), ("x", "d x")):
            assert np.all(np.abs(r.grad[name] - exact.grad[wanted]) < 5 * r.stderr[name]), name


def test_wrt_refuses_what_varies(backend):
    g = regression(True)
    g.node("more", 2.0 * g.nodes["h"])
    for name, why in (("h", "replicate"), ("more", "replicate"), ("zz", "no"), ("fit", "no")):
        with pytest.raises(scg.DeclarationError, match=f'test_contract.py:.*"{name}".*{why}'):
            scg.compile(g, wrt=("m", name), backend=backend)
    g = scg.Graph("jump")
    g.cost("loss", g.node("step", scg.floor(g.param("theta"))) ** 2)
    with pytest.raises(scg.ConditionError):  # naming the node does not hide the jump above it
        scg.compile(g, wrt=("theta", "step"), backend=backend)


@pytest.mark.by_python(backend="numba")
def test_without_stderr(backend):
    f, plain = (scg.compile(toy(), backend=backend, stderr=s) for s in (True, False))
    r, p = f({"theta": 0.3}, samples=100, rng=0), plain({"theta": 0.3}, samples=100, rng=0)
    assert np.isclose(r.cost, p.cost, rtol=1e-12) and np.isclose(r.grad["theta"], p.grad["theta"], rtol=1e-12)
    assert np.isnan(p.cost_stderr) and np.isnan(p.stderr["theta"]) and p.stderr["theta"].shape == ()


# --- state, seeds, copies --------------------------------------------------------------------------------------------
@pytest.mark.by_python(backend="numba")
def test_state_is_read_once_and_updated_once(backend):
    g = toy()
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.MovingAverage(decay=0.75)), backend=backend)
    bare = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend)
    values = {"theta": 0.3}
    first = f(values, samples=500, rng=1)
    assert np.isclose(first.grad["theta"], bare(values, samples=500, rng=1).grad["theta"], rtol=1e-12)  # it read 0
    assert same(first, f(values, samples=500, rng=1))  # nothing hides in the function
    (name, updated), = first.state.items()
    assert np.isclose(updated, 0.25 * first.cost, rtol=1e-12)
    second = f(values, samples=500, rng=1, state=first.state)
    assert np.isclose(second.state[name], 0.75 * updated + 0.25 * second.cost, rtol=1e-12)
    score = (f(values, samples=500, rng=1, record=("b",)).record["b"] - 1 / (1 + np.exp(-0.3))).mean()
    assert np.isclose(second.grad["theta"], first.grad["theta"] - updated * score, rtol=1e-9)


def test_seeds(backend):
    f = scg.compile(toy(), backend=backend)

    def call(rng):
        return f({"theta": 0.3}, samples=64, rng=rng)

    for rng in (7, np.int64(7), -1, 2**70, None, np.random.SeedSequence(5), np.random.default_rng(5)):
        r = call(rng)
        assert isinstance(r.seed, int) and same(r, call(r.seed))
    assert call(7).seed == 7 and not same(call(7), call(8))
    assert same(call(np.random.SeedSequence(5)), call(np.random.SeedSequence(5)))
    used, twin = np.random.default_rng(5), np.random.default_rng(5)
    assert call(used).seed == int(twin.integers(0, 2**64 - 1, endpoint=True, dtype=np.uint64))
    assert used.random() == twin.random()  # it advanced by exactly one 64-bit draw


def test_pickle(backend):
    for g, values in ((toy(), {"theta": 0.3}), (regression(True), data())):
        f = scg.compile(g, backend=backend)
        copy = pickle.loads(pickle.dumps(f))
        assert same(f(values, samples=100, rng=2), copy(values, samples=100, rng=2))
        assert str(copy.verdict) == str(f.verdict) and copy.source == f.source
        assert copy.explain().partition("  compiled ")[0] == f.explain().partition("  compiled ")[0]
        with pytest.raises(scg.SCGError, match="Compile the graph in this process"):
            _ = copy.surrogate
        with pytest.raises(scg.CallError, match=r"record= was given to an unpickled .*not the graph.*Compile"):
            copy(values, record="m" if "m" in values else "b")
        with pytest.raises(scg.CallError):
            copy({**values, "zz": 1.0})
        assert same(f(values, samples=100, rng=2), pickle.loads(pickle.dumps(copy))(values, samples=100, rng=2))
    r = f(values, samples=4, rng=0)
    assert same(r, pickle.loads(pickle.dumps(r)))


@pytest.mark.optimised  # as the other processes have it
def test_processes(backend):
    f = scg.compile(toy(), backend=backend)
    n = 5 * 131072
    inline = f({"theta": 0.3}, samples=n, rng=4)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert same(inline, f({"theta": 0.3}, samples=n, rng=4, executor=pool))
        assert same(f({"theta": 0.3}, samples=50, rng=4), pool.submit(f, {"theta": 0.3}, samples=50, rng=4).result())
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            assert same(inline, f({"theta": 0.3}, samples=n, rng=4, executor=pool))


def test_calls_at_once(backend):
    f = scg.compile(regression(True), backend=backend)
    alone = [f(data(), samples=40 + s, rng=s) for s in range(24)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda s: f(data(), samples=40 + s, rng=s), range(24)))
    assert all(same(a, b) for a, b in zip(alone, together))


# --- rows ------------------------------------------------------------------------------------------------------------
def test_shared_sites(backend):
    for shared in (True, False):
        g = regression(shared)
        f, exact = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend), scg.exact(g, data())
        r = f(data(), samples=4000, rng=1, record=("h", "w", "x"))
        assert np.array_equal(r.record["w"], np.broadcast_to(r.record["w"][:1], (5, 4000, 2))) == shared
        assert np.array_equal(r.record["w"][0], r.record["w"][1]) == shared
        assert not np.array_equal(r.record["h"][0], r.record["h"][1])
        assert np.all(np.abs(r.grad["m"] - exact.grad["m"]) < 5 * r.stderr["m"])
        assert abs(r.cost - exact.cost) < 5 * r.cost_stderr


@pytest.mark.by_python(backend="numba")
def test_rows_are_averaged_and_other_costs_count_once(backend):
    g = scg.Graph("means")
    a, y = g.param("a"), g.data("y", 3)
    g.cost("rows", a * y)
    g.cost("once", a * np.array([1.0, 2.0]), scale=10.0)
    y = np.arange(12.0).reshape(4, 3)
    r = scg.compile(g, backend=backend)({"a": 2.0, "y": y})
    assert np.isclose(r.costs["rows"], 2.0 * y.sum() / 4) and np.isclose(r.costs["once"], 60.0)
    assert np.isclose(r.cost, r.costs["rows"] + 60.0) and np.isclose(r.grad["a"], y.sum() / 4 + 30.0)
    assert r.rows == 4 and r.samples == 1


@pytest.mark.by_python(backend="numba")
def test_draws_by_shape(backend):
    g = scg.Graph("draws")
    m = g.param("m", 2)
    x = g.sample("x", scg.Normal(loc=m, scale=1.0), shape=(3, 2))
    assert x.shape == (3, 2) and scg.Normal(loc=m, scale=1.0).log_prob(x).shape == (3, 2)
    g.cost("loss", x)
    r = scg.compile(g, backend=backend, stderr=False)({"m": [1.0, 2.0]}, samples=7, rng=0, record=("x",))
    assert r.record["x"].shape == (1, 7, 3, 2) and np.isclose(r.cost, r.record["x"].sum(axis=(-1, -2)).mean())
    assert np.allclose(r.grad["m"], 3.0)


# --- strategies ------------------------------------------------------------------------------------------------------
def test_the_policy(backend):
    g = scg.Graph("policy")
    theta = g.param("theta")
    smooth, cut, b = (g.sample(n, scg.Normal(loc=theta, scale=1.0)) for n in ("smooth", "cut", "both"))
    k = g.sample("k", scg.Poisson(rate=scg.exp(theta)))
    g.cost("a", scg.relu(smooth) + abs(b))
    g.cost("b", scg.where(cut > 0, 1.0, 0.0) * b + k)
    chosen = scg.compile(g, backend=backend).verdict
    assert {name: type(chosen[name].estimator).__name__ for name in chosen} == {
        "smooth": "Pathwise", "cut": "ScoreFunction", "both": "Pathwise", "k": "ScoreFunction"}
    assert chosen["k"].estimator == scg.ScoreFunction(scg.LeaveOneOut()) and chosen.unbiased
    assert all(chosen[name].origin == "policy" for name in chosen)


def test_precedence(backend):
    g = scg.Graph("precedence")
    theta = g.param("theta")
    own = g.sample("own", scg.Bernoulli(logits=theta), estimator=scg.LocalExpectation())
    a, b = g.sample("a", scg.Bernoulli(logits=theta)), g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", own * a + b)

    def estimators(strategy):
        return [v.estimator for v in scg.compile(g, strategy=strategy, backend=backend).verdict.values()]

    policy, own = scg.ScoreFunction(scg.LeaveOneOut()), scg.LocalExpectation()
    order = list(scg.compile(g, backend=backend).verdict)
    at = {name: order.index(name) for name in ("own", "a", "b")}
    got = estimators(None)
    assert [got[at[n]] for n in ("own", "a", "b")] == [own, policy, policy]
    got = estimators({("own", "b"): scg.Enumerate()})
    assert [got[at[n]] for n in ("own", "a", "b")] == [scg.Enumerate(), policy, scg.Enumerate()]
    got = estimators(scg.WeakDerivative())
    assert got == [scg.WeakDerivative()] * 3
    verdict = scg.compile(g, strategy={"a": scg.MuProp()}, backend=backend).verdict
    assert {n: verdict[n].origin for n in verdict} == {"own": "site", "a": "strategy", "b": "policy"}


@pytest.mark.by_python(backend="numba")
def test_bare_score_function_has_no_baseline(backend):
    assert scg.ScoreFunction().baseline is None
    g = toy()
    values = {"theta": 0.3}
    r = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend)(values, samples=50, rng=0, record=("b",))
    b = r.record["b"][0]
    assert np.isclose(r.grad["theta"], ((b - 0.45) ** 2 * (b - 1 / (1 + np.exp(-0.3)))).mean())


def test_biased_estimators_say_so(backend):
    g = scg.Graph("counts")
    g.cost("loss", g.sample("k", scg.Poisson(rate=scg.exp(g.param("theta")))))
    f = scg.compile(g, strategy=scg.Enumerate(upto=3), backend=backend)
    assert f.verdict["k"].status == "biased" and "above 3" in f.verdict["k"].reason and not f.verdict.unbiased


def test_one_kernel_for_every_number_of_samples(backend):
    f = scg.compile(toy(), backend=backend)
    one = f({"theta": 0.3}, samples=1, rng=0)
    assert any("baseline is 0" in note for note in one.notes)
    assert np.isnan(one.cost_stderr) and np.isnan(one.stderr["theta"]) and np.isfinite(one.grad["theta"])
    assert np.isclose(one.grad["theta"], scg.compile(toy(), strategy=scg.ScoreFunction(), backend=backend)(
        {"theta": 0.3}, samples=1, rng=0).grad["theta"])
    few, many = f({"theta": 0.3}, samples=200, rng=0), f({"theta": 0.3}, samples=64 * 40, rng=0)
    assert any("fewer than 32" in note for note in few.notes) and many.notes == ()
    g = scg.Graph("rows")
    m = g.sample("m", scg.Bernoulli(logits=g.param("theta") + g.data("x")))
    g.cost("row", (m - 0.45) ** 2)
    by_rows, values = scg.compile(g, backend="numpy"), {"theta": 0.1, "x": np.linspace(-1.0, 1.0, 50)}
    assert any(note.startswith("one leave-one-out group in a row") for note in by_rows(values, samples=64).notes)
    assert by_rows(values, samples=65).notes == ()
    assert scg.compile(toy(), strategy=scg.ScoreFunction(), backend=backend)({"theta": 0.3}, samples=2).notes == ()


# --- standard errors -------------------------------------------------------------------------------------------------
CASES = {
    "replicates": (toy, lambda: {"theta": 0.3}, scg.ScoreFunction(), 100),
    "groups": (toy, lambda: {"theta": 0.3}, scg.ScoreFunction(scg.LeaveOneOut(group=4)), 256),
    "few groups": (toy, lambda: {"theta": 0.3}, None, 16),
    "rows": (lambda: regression(False), data, scg.ScoreFunction(), 40),
    "groups in rows": (lambda: regression(False), data, scg.ScoreFunction(scg.LeaveOneOut(group=2)), 40),
    "shared": (lambda: regression(True), data, scg.ScoreFunction(), 80),
    "groups of shared": (lambda: regression(True), data, scg.ScoreFunction(scg.LeaveOneOut(group=2)), 80)}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_stderr_is_the_sd_of_the_result(case, backend):
    make, values, strategy, samples = CASES[case]
    f, values = scg.compile(make(), strategy=strategy, backend=backend), values()
    calls, tolerance = (4000, 0.05) if backend == "numba" else (700, 0.12)
    rs = [f(values, samples=samples, rng=seed) for seed in range(calls)]
    results = [np.append(r.cost, *r.grad.values()) for r in rs]
    errors = [np.append(r.cost_stderr, *r.stderr.values()) for r in rs]
    ratio = np.sqrt(np.mean(np.square(errors), 0)) / np.std(results, 0)
    if case == "few groups":  # the form for single replicates leaves out their covariance: up to a fifth, and noted
        assert rs[0].notes and 0.8 < ratio[1] < 1.05
        ratio = ratio[:1]
    assert np.all(np.abs(ratio - 1.0) < tolerance), ratio


@pytest.mark.parametrize("stderr", [True, False])
def test_a_constant_beside_the_cost_drowns_nothing(backend, stderr):
    """Baselines take it away before anything is multiplied: sums of products do not cancel."""
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (b - 0.45) ** 2 + g.input("offset"))
    f = scg.compile(g, backend=backend, stderr=stderr)
    near, far = (f({"t": 0.3, "offset": offset}, samples=4096, rng=0) for offset in (0.0, 1e8))
    np.testing.assert_allclose(far.grad["t"], near.grad["t"], rtol=1e-6)
    np.testing.assert_allclose(far.stderr["t"], near.stderr["t"], rtol=1e-5)


# --- precision -------------------------------------------------------------------------------------------------------
def test_single_precision_is_opt_in(backend):
    assert scg.compile(toy(), backend=backend)({"theta": np.float32(0.3)}).grad["theta"].dtype == np.float64
    g = scg.Graph("single")
    theta, n = g.param("theta", 2), g.input("n")
    g.cost("loss", g.sample("x", scg.Normal(loc=theta, scale=1.0)) ** 2 * n)
    f, wide = (scg.compile(g, backend=backend, dtype=d) for d in ("float32", "float64"))
    r, w = (h({"theta": [0.3, 0.4], "n": 2}, samples=500, rng=0) for h in (f, wide))
    assert r.grad["theta"].dtype == np.float32 and r.stderr["theta"].dtype == np.float64 and isinstance(r.cost, float)
    assert np.all(np.abs(r.grad["theta"] - w.grad["theta"]) < 10 * w.stderr["theta"])
    assert f({"theta": [0.3, 0.4], "n": 2**24}, samples=2).samples == 2
    for n in (2**24 + 1, np.int64(2**40)):
        with pytest.raises(scg.CallError, match=r'"n".*2\^24.*float64'):
            f({"theta": [0.3, 0.4], "n": n}, samples=2)
        assert wide({"theta": [0.3, 0.4], "n": n}, samples=2).samples == 2
    with pytest.raises(scg.CallError, match=r'"n".*float32'):
        f({"theta": [0.3, 0.4], "n": 1e60}, samples=2)


# --- nodes -----------------------------------------------------------------------------------------------------------
def test_scans(backend):
    g = scg.Graph("walk")
    theta, steps = g.param("theta"), np.array([1.0, 2.0, 3.0])

    def step(carry, x):
        b = g.sample("b", scg.Bernoulli(logits=theta + 0.1 * carry["at"]))
        g.cost("tax", 0.1 * b * x["size"])
        return {"n": carry["n"] + b, "at": carry["at"] + b * x["size"]}, {"seen": b}

    last, ys = g.scan(step, {"at": 0.0, "n": 0.0}, xs={"size": steps})
    assert set(last) == {"at", "n"} and ys["seen"].shape == (3,)
    g.cost("end", (last["at"] - 3.0) ** 2 + last["n"])
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend)
    r, exact = f({"theta": 0.2}, samples=20_000, rng=0, record=("b",)), scg.exact(g, {"theta": 0.2})
    b = r.record["b"][0]
    assert b.shape == (20_000, 3)
    assert np.isclose(r.cost, (((b @ steps) - 3.0) ** 2 + b.sum(1) + 0.1 * (b @ steps)).mean())
    assert abs(r.cost - exact.cost) < 5 * r.cost_stderr
    assert abs(r.grad["theta"] - exact.grad["theta"]) < 5 * r.stderr["theta"]
    assert backend == "numba" or scg.verify(f, {"theta": 0.2}).passed  # of kernels of loops: test_backends


@pytest.mark.by_python(backend="numba")
def test_numpy_on_nodes(backend):
    g = scg.Graph("numpy")
    a, b, s = g.param("a", (2, 3)), g.param("b", 3), g.param("s")
    A, B, S = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), np.array([0.7, 0.8, 0.9]), 0.4

    def written(a, b, s):
        return [np.exp(a).sum(), np.sum(a, axis=1)[0], np.where(b > 0.75, b, s).sum(), (a @ b).max(), a.T.ravel()[1],
                np.maximum(a, s).mean(), np.tanh(b) @ b, np.log(b)[-1], abs(-s), s**3, 2.0**s, a[:, 1:][1, 0],
                np.stack([s, b[0]]).sum(), ((b > 0.75) & ~(b > 0.85)) @ b, np.clip(b, 0.0, s).sum(), sum(b), len(a) * s,
                np.sqrt(s) / (1 + s), np.concatenate([b, a[0]]).min(), np.dot(a, b)[0], a.ndim * s + a.shape[1]]

    for i, node in enumerate(written(a, b, s)):
        g.cost(f"cost {i}", scg.assume_continuous(node))
    r = scg.compile(g, backend=backend, stderr=False)({"a": A, "b": B, "s": S})
    assert np.allclose(list(r.costs.values()), [float(v) for v in written(A, B, S)], rtol=1e-12)


def named_in_steps() -> scg.Graph:
    g = scg.Graph("named in steps")
    theta = g.param("theta")

    def step(c, x):
        b, z = g.sample("b", scg.Bernoulli(logits=theta + 0.1 * c)), g.sample("z", scg.Normal(loc=theta, scale=1.0))
        h = g.node("h", scg.stack([2.0 * b + c, z * z, x]))
        g.node("copy", b)
        g.node("fixed", 2.0 * theta)
        g.node("up", b > 0.5)

        def inner(d, y):
            return d + g.node("term", d * y + b), None

        g.cost("size", 0.1 * h.sum() + g.scan(inner, c, xs=np.array([1.0, 2.0]))[0])
        return h[0], None

    last, _ = g.scan(step, 1.0, xs=np.array([0.1, 0.2, 0.3]))
    g.cost("last", g.node("twice", 2.0 * last))
    return g


INSIDE = ("b", "z", "h", "copy", "fixed", "up", "term", "twice")


STRATEGIES = (scg.ScoreFunction(), None, scg.WeakDerivative(), scg.MuProp(),
              {"b": scg.LocalExpectation(), "z": scg.Pathwise()})  # fmt: skip


@pytest.mark.by_python(backend="numba")
def test_nodes_named_inside_a_scan(backend, request):
    """Under every strategy in the reference and, with `--full`, in kernels; else in one kernel: what a strategy makes
    of a named node is in the program that both backends are given, and the kernel has to record it."""
    every = backend == "numpy" or request.config.getoption("--full")
    for strategy in STRATEGIES if every else STRATEGIES[:1]:
        f = scg.compile(named_in_steps(), strategy=strategy, backend=backend, stderr=False)
        _check_named_in_steps({n: a[0] for n, a in f({"theta": 0.2}, samples=6, rng=0, record=INSIDE).record.items()})


def _check_named_in_steps(got: dict[str, np.ndarray]) -> None:
    b, carry = got["b"], np.ones(6)
    for t in range(3):
        first = carry + b[:, t]
        np.testing.assert_allclose(got["term"][:, t], np.stack([first, 2.0 * (carry + first) + b[:, t]], axis=-1))
        np.testing.assert_allclose(got["h"][:, t, 0], 2.0 * b[:, t] + carry)
        carry = 2.0 * b[:, t] + carry
    np.testing.assert_allclose(got["h"][:, :, 1], got["z"] ** 2)
    np.testing.assert_allclose(got["h"][:, :, 2], np.broadcast_to([0.1, 0.2, 0.3], (6, 3)))
    np.testing.assert_allclose(got["twice"], 2.0 * carry)
    assert np.array_equal(got["copy"], b) and np.array_equal(got["up"], b) and np.allclose(got["fixed"], 0.4)
    assert got["term"].shape == (6, 3, 2) and 0.0 < b.mean() < 1.0


@pytest.mark.by_python(backend="numba")
def test_nodes_named_inside_a_scan_change_no_estimate(backend):
    strategy = scg.ScoreFunction() if backend == "numba" else None
    named, bare = (scg.compile(g, strategy=strategy, backend=backend, stderr=False) for g in (
        named_in_steps(), unnamed(named_in_steps)))
    r, plain = named({"theta": 0.2}, samples=50, rng=0, record=INSIDE), bare({"theta": 0.2}, samples=50, rng=0)
    assert np.isclose(r.cost, plain.cost, rtol=1e-12) and np.isclose(r.grad["theta"], plain.grad["theta"], rtol=1e-12)
    for name in ("h", "term", "fixed"):
        with pytest.raises(scg.DeclarationError, match=f'wrt names "{name}".*value per step|differs from replicate'):
            scg.compile(named_in_steps(), wrt=name, backend=backend)


def unnamed(declare) -> scg.Graph:
    """The graph of a function, declared without names of nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scg.Graph, "node", lambda self, name, expr: expr)
        return declare()


@pytest.mark.by_python(backend="numba")
def test_sites_that_no_cost_depends_on(backend):
    g = scg.Graph("idle")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.sample("idle", scg.Normal(loc=theta, scale=1.0))
    g.sample("own", scg.Normal(loc=theta, scale=1.0), estimator=scg.ScoreFunction(scg.LeaveOneOut()))
    g.scan(lambda c, x: (g.sample("inside", scg.Bernoulli(logits=c + b)), None), 0.0, length=2)
    g.cost("loss", b)
    f = scg.compile(g, backend=backend)
    assert set(f.verdict) == {"b", "idle", "own", "inside"} and f.verdict.unbiased
    for name, estimator in (("idle", None), ("own", scg.ScoreFunction(scg.LeaveOneOut())), ("inside", None)):
        verdict = f.verdict[name]
        assert verdict.status == "unbiased" and verdict.reason == "no cost depends on it"
        assert verdict.estimator == estimator and not verdict.differentiated and verdict.influenced == ()
    assert 'site "idle": no estimator, unbiased: no cost depends on it' in str(f.verdict)
    assert 'site "idle" ~ Normal' in f.explain() and "4 sites" in f.explain()
    copied = pickle.loads(pickle.dumps(f))
    assert copied.verdict["idle"].estimator is None and str(copied.verdict) == str(f.verdict)
    one = f({"theta": 0.3}, samples=1, rng=0, record=("idle", "own"))
    assert one.record["idle"].shape == (1, 1)  # its leave-one-out group of one is nobody's
    asked = scg.compile(g, strategy=scg.WeakDerivative(), backend=backend).verdict["idle"]
    assert asked.estimator == scg.WeakDerivative() and asked.origin == "strategy"
    with pytest.raises(scg.DeclarationError, match="no site of that name"):
        f.verdict["zz"]
    assert "idle" in f.verdict and "zz" not in f.verdict and f.verdict.get("zz") is None


def test_distributions_give_nodes(backend):
    g = scg.Graph("elbo")
    m = g.param("m", 2)
    q, p = scg.Normal(loc=m, scale=0.5), scg.Normal(loc=0.0, scale=1.0)
    z = g.sample("z", q)
    g.cost("sampled", (q.log_prob(z) - p.log_prob(z)).sum())
    g.cost("closed", scg.kl_divergence(q, p).sum())
    g.cost("entropy", -q.entropy().sum() + 0.0 * q.mean.sum())
    r = scg.compile(g, backend=backend, stderr=False)({"m": [0.3, -0.2]}, samples=20_000, rng=0)
    kl = sum(0.5 * (0.25 + mu**2 - 1.0) - np.log(0.5) for mu in (0.3, -0.2))
    assert np.isclose(r.costs["closed"], kl) and abs(r.costs["sampled"] - kl) < 0.05
    assert np.isclose(r.costs["entropy"], -2 * (np.log(0.5) + 0.5 * np.log(2 * np.pi * np.e)))


@pytest.mark.by_python(backend="numba")
def test_labels_in_data(backend):
    """The density of a family on the integers takes any node: whether labels are integers is known at the call only."""
    g = scg.Graph("labels")
    logits, label = g.param("logits", 3), g.data("label")
    g.cost("loss", -scg.Categorical(logits=logits).log_prob(label))
    at, labels = np.array([0.1, 0.5, -0.3]), np.array([0, 2, 2, 1])
    r = scg.compile(g, backend=backend)({"logits": at, "label": labels})
    p = np.exp(at) / np.exp(at).sum()
    assert np.isclose(r.cost, -np.log(p[labels]).mean())
    assert np.allclose(r.grad["logits"], p - np.bincount(labels) / 4)


@pytest.mark.by_python(backend="numba")
def test_tables_by_samples(backend):
    g = scg.Graph("table")
    table, theta = g.param("table", (3, 2)), g.param("theta", 3)
    k = g.sample("k", scg.Categorical(logits=theta))
    g.cost("loss", table[k].sum() + scg.one_hot(k, 3) @ theta)
    values = {"table": np.arange(6.0).reshape(3, 2), "theta": [0.1, 0.2, 0.3]}
    r = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend)(values, samples=4000, rng=0, record=("k",))
    assert set(np.unique(r.record["k"])) == {0.0, 1.0, 2.0}
    assert np.allclose(r.grad["table"][:, 0], [(r.record["k"] == i).mean() for i in range(3)])
    assert np.all(np.abs(r.grad["theta"] - scg.exact(g, values).grad["theta"]) < 5 * r.stderr["theta"])
