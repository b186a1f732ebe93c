"""`wrt` of what has a value per row: data leaves, and nodes computed from them."""

import importlib.util
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import scg
from tests.laws.checks.exported import with_the_kernel_of
from tests.laws.checks.plain_kernels import run_by_python

BACKENDS = ("numpy", "numba")
EVERY = ("m", "x", "h")  # in this order wherever a kernel is compiled: one text, one kernel
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def plain(g, name, node):
    """The node itself: the graph as a user writes it."""
    return node


def plus(g, name, node):
    """The node and a param: what `wrt` names, by other means."""
    return node + g.param(f"d {name}", node.shape)


def latent(add=plain) -> scg.Graph:
    """Sites drawn for each row, behind a named node of two elements."""
    g = scg.Graph("latent")
    m, x, y = g.param("m", 2), add(g, "x", g.data("x", 2)), g.data("y")
    h = add(g, "h", g.node("h", scg.tanh(m * x)))
    b = g.sample("b", scg.Bernoulli(logits=h))
    c = g.sample("c", scg.Bernoulli(probs=scg.sigmoid(b.sum() - h.sum() + x[0])))
    g.cost("fit", (b.sum() - y) ** 2 * (1.0 + c))
    g.cost("size", 0.1 * h**2 + m**2)
    return g


def shared(add=plain) -> scg.Graph:
    """A weight that all rows share, and a site drawn for each."""
    g = scg.Graph("shared")
    m, x, y = g.param("m", 2), add(g, "x", g.data("x", 2)), g.data("y")
    w = g.sample("w", scg.Bernoulli(logits=m))
    h = add(g, "h", g.node("h", scg.tanh(x + m)))
    b = g.sample("b", scg.Bernoulli(logits=h @ w))
    g.cost("fit", (b - y) ** 2)
    g.cost("size", (w * np.array([0.1, 0.2])).sum())
    return g


def looped(add=plain, shared=False) -> scg.Graph:
    """Data and a node by row inside a loop: as its constants, and as what it runs along."""
    g = scg.Graph("looped")
    m, x = g.param("m"), add(g, "x", g.data("x", 3))
    h = add(g, "h", g.node("h", m * x[:2] + 0.3))

    def step(carry, at):
        b = g.sample("b", scg.Bernoulli(logits=at + h[0] * carry))
        g.cost("tax", b * at)
        return carry + b, None

    first = g.sample("w", scg.Bernoulli(logits=m)) if shared else 0.0
    last, _ = g.scan(step, first, xs=x)
    g.cost("end", (last - h[1]) ** 2)
    return g


def looped_shared(add=plain) -> scg.Graph:
    """The same loop, with a first carry that all rows share."""
    return looped(add, shared=True)


GRAPHS = {"latent": (latent, 2), "shared": (shared, 2), "looped": (looped, 3), "looped shared": (looped_shared, 3)}


def values_of(name: str, rows: int = 5) -> dict:
    rng = np.random.default_rng(1)
    if name.startswith("looped"):
        return {"m": 0.4, "x": rng.normal(size=(rows, 3))}
    return {"m": [0.3, -0.2], "x": rng.normal(size=(rows, 2)), "y": rng.normal(size=rows)}


def wanted(name: str, values: dict) -> dict[str, np.ndarray]:
    """The exact gradient with respect to `x` and `h`, row by row, from params of zeros that are added to them."""
    graph, rows = GRAPHS[name][0](plus), len(values["x"])
    zeros = {n: np.zeros(p.shape) for n, p in graph.params.items() if n.startswith("d ")}
    parts = [scg.exact(graph, {**values, **zeros, **{n: values[n][r : r + 1] for n in ("x", "y") if n in values}}).grad
             for r in range(rows)]
    return {n: np.stack([p[f"d {n}"] for p in parts]) / rows for n in ("x", "h")}


def numbers(r) -> list[np.ndarray]:
    return [np.asarray(r.cost), np.asarray(r.cost_stderr), *r.grad.values(), *r.stderr.values()]


def exported(f, folder):
    """The standalone module of an estimator."""
    f.export(folder / "standalone.py")
    spec = importlib.util.spec_from_file_location("standalone", folder / "standalone.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["standalone"] = module
    spec.loader.exec_module(module)
    return module


def same(a, b) -> bool:
    """The same bits in every number of two results."""
    pairs = zip(numbers(a), numbers(b), strict=True)
    return list(a.grad) == list(b.grad) and all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


# --- exact gradients -------------------------------------------------------------------------------------------------
@pytest.mark.by_python
@each_backend
@pytest.mark.parametrize("name", ("latent", "shared"))
def test_enumerated_sites(name, backend):
    """With every site summed out there is no noise: the gradients are those of the exact cost."""
    make, size = GRAPHS[name]
    values = values_of(name)
    r = scg.compile(make(), wrt=("h", "m", "x"), strategy=scg.Enumerate(), backend=backend)(values, samples=3, rng=0)
    exact = wanted(name, values)
    assert list(r.grad) == list(r.stderr) == ["h", "m", "x"]
    for n in ("x", "h"):
        assert r.grad[n].shape == r.stderr[n].shape == (5, size)
        assert np.allclose(r.grad[n], exact[n], rtol=1e-10, atol=1e-13) and np.all(r.stderr[n] < 1e-8)
    assert np.allclose(r.grad["m"], scg.exact(make(), values).grad["m"], rtol=1e-10)
    step = 1e-5  # and by differences of the exact cost
    for row, i in ((0, 0), (4, 1)):
        up, down = (scg.exact(make(), {**values, "x": _moved(values["x"], row, i, d)}).cost for d in (step, -step))
        assert np.isclose(r.grad["x"][row, i], (up - down) / (2 * step), atol=1e-8)


def _moved(array: np.ndarray, row: int, i: int, by: float) -> np.ndarray:
    array = array.copy()
    array[row, i] += by
    return array


STRATEGIES = {"policy": None, "score": scg.ScoreFunction(), "pairs": scg.ScoreFunction(scg.LeaveOneOut(group=2)),
              "average": scg.ScoreFunction(scg.MovingAverage()), "weak": scg.WeakDerivative(),
              "local": scg.LocalExpectation(), "muprop": scg.MuProp()}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", GRAPHS)
def test_estimates(name, strategy):
    values, exact = values_of(name), wanted(name, values_of(name))
    f = scg.compile(GRAPHS[name][0](), wrt=("x", "h"), strategy=STRATEGIES[strategy], backend="numpy")
    r = f(values, samples=4000, rng=2)
    assert f.verdict.unbiased
    for n, grad in r.grad.items():
        assert np.all(np.abs(grad - exact[n]) <= 5 * r.stderr[n] + 1e-12), n


@pytest.mark.by_python
@each_backend
@pytest.mark.parametrize("per_row", (True, False))
def test_normal_weights(per_row, backend):
    """E (wx − y)² with w ~ N(m, s²): dF/dx = 2 (x (m² + s²) − m y) / rows."""
    g = scg.Graph("bayes")
    x, y = g.data("x"), g.data("y")
    w = g.sample("w", scg.Normal(loc=g.param("m"), scale=0.5), per_row=per_row)
    g.cost("fit", (w * x - y) ** 2)
    values = {"m": 0.8, "x": np.linspace(-1.0, 2.0, 7), "y": np.linspace(1.0, 0.0, 7)}
    r = scg.compile(g, wrt="x", backend=backend)(values, samples=3000, rng=0, record=("w",))
    w, x, y = r.record["w"], values["x"][:, None], values["y"][:, None]
    each = 2.0 * w * (w * x - y) / 7  # what a replicate contributes
    assert np.allclose(r.grad["x"], each.mean(axis=1), rtol=1e-10)
    assert np.allclose(r.stderr["x"], each.std(axis=1, ddof=1) / np.sqrt(3000), rtol=1e-8)
    truth = 2.0 * (values["x"] * (0.8**2 + 0.5**2) - 0.8 * values["y"]) / 7
    assert np.all(np.abs(r.grad["x"] - truth) < 5 * r.stderr["x"])


# --- the chain rule --------------------------------------------------------------------------------------------------
@pytest.mark.by_python
@pytest.mark.parametrize("strategy, backend", ((None, "numpy"), (scg.ScoreFunction(), "numpy"),
                                               (scg.ScoreFunction(), "numba")), ids=str)
@pytest.mark.parametrize("weights", (False, True), ids=("rows", "shared weights"))
def test_gradient_of_a_node_carries_on_to_a_param(weights, strategy, backend):
    """Where a node is the only way from a param to the costs, its gradient times dh/dw is the param's."""
    g = scg.Graph("encoder")
    w, x = g.param("w"), g.data("x")
    h = g.node("h", scg.sigmoid(w * x))
    scale = g.sample("v", scg.Normal(loc=1.0, scale=0.1)) if weights else 1.0
    b = g.sample("b", scg.Bernoulli(probs=h))
    g.cost("loss", scale * (b - 0.3) ** 2 + h**2 * b)
    x = np.linspace(-2.0, 2.0, 9)
    f = scg.compile(g, wrt=("h", "w"), strategy=strategy, backend=backend)
    r = f({"w": 0.7, "x": x}, samples=50, rng=3)
    s = 1 / (1 + np.exp(-0.7 * x))
    assert np.isclose((r.grad["h"] * s * (1 - s) * x).sum(), r.grad["w"], rtol=1e-11)
    both = scg.compile(g, strategy=strategy, backend="numpy")({"w": 0.7, "x": x}, samples=50, rng=3)
    assert np.isclose(both.grad["w"], r.grad["w"], rtol=1e-12) and np.isclose(both.cost, r.cost, rtol=1e-12)
    assert np.isclose(both.stderr["w"], r.stderr["w"], rtol=1e-9)


@pytest.mark.by_python
@each_backend
def test_stacked_encoder(backend):
    """An outer encoder, written in NumPy: its weights' gradient through the rows is that of the whole graph."""
    g, whole = scg.Graph("head"), scg.Graph("whole")
    code = g.data("code", 2)
    W, x = whole.param("W", (2, 3)), whole.data("x", 3)
    for graph, logits in ((g, code), (whole, W @ x)):
        b = graph.sample("b", scg.Bernoulli(logits=logits))
        graph.cost("loss", (b.sum() - 0.7) ** 2 + 0.1 * logits**2)
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(2, 3)), rng.normal(size=(6, 3))
    inner = scg.compile(g, wrt="code", backend=backend, stderr=False)({"code": x @ W.T}, samples=40, rng=1)
    outer = scg.compile(whole, backend="numpy", stderr=False)({"W": W, "x": x}, samples=40, rng=1)
    assert np.allclose(inner.grad["code"].T @ x, outer.grad["W"], rtol=1e-10)


# --- backends, workers, copies ---------------------------------------------------------------------------------------
@pytest.mark.by_python(by_python=True)
@pytest.mark.parametrize("name, rows, samples, by_python", [
    *((name, rows, samples, False) for name in ("latent", "shared")
      for rows, samples in ((5, 1), (5, 7), (1, 200), (40, 130))),
    ("looped", 5, 7, True), ("looped shared", 5, 1, True), ("looped shared", 3, 20, True)])
def test_backends_agree(name, rows, samples, by_python):
    values = values_of(name, rows)
    a, b = (scg.compile(GRAPHS[name][0](), wrt=EVERY, backend=backend)(values, samples=samples, rng=5)
            for backend in BACKENDS)
    assert a.notes == b.notes and a.grad["x"].shape == values["x"].shape
    for n in a.grad:
        assert np.allclose(a.grad[n], b.grad[n], rtol=1e-9, atol=1e-13)
        assert np.allclose(a.stderr[n], b.stderr[n], rtol=1e-6, atol=1e-12, equal_nan=True)
        assert np.isnan(a.stderr[n]).all() if samples == 1 else np.isfinite(a.stderr[n]).all()


@pytest.mark.parametrize("name", ("latent", "shared"))
def test_workers_and_export(name, tmp_path):
    """The same bits on any number of workers, from a copy, and from the exported module."""
    f = scg.compile(GRAPHS[name][0](), wrt=EVERY)
    module = with_the_kernel_of(f, exported(f, tmp_path))
    module.self_check()
    for rows, samples in ((2, 40_000), (300, 900), (40_000, 3), (300, 64)):
        values = values_of(name, rows)
        r = f(values, samples=samples, rng=4)
        assert len(r._division.chunks) > (name == "latent" and samples != 64)
        for workers in (1, 2, 7):
            with ThreadPoolExecutor(workers) as pool:
                assert same(r, f(values, samples=samples, rng=4, executor=pool))
        assert same(r, pickle.loads(pickle.dumps(f))(values, samples=samples, rng=4))
        assert same(r, pickle.loads(pickle.dumps(r)))
        assert same(r, module.estimate(values, samples=samples, rng=4))


@pytest.mark.parametrize("rows, samples", ((3, 129), (2, 4000), (150, 65)))
@pytest.mark.parametrize("name", ("latent", "shared"))
def test_chunks_are_merged(name, rows, samples):
    """What a row gets does not depend on how it was divided, but for rounding."""
    values = values_of(name, rows)
    f = scg.compile(GRAPHS[name][0](), wrt=("x", "h"), strategy=scg.ScoreFunction(), backend="numpy")
    whole = f(values, samples=samples, rng=0)
    object.__setattr__(f._layout, "chunk_lanes", 64)
    f._prepare()
    parts = f(values, samples=samples, rng=0)
    assert len(parts._division.chunks) > len(whole._division.chunks)
    for n in whole.grad:
        assert np.allclose(whole.grad[n], parts.grad[n], rtol=1e-11, atol=1e-15)
        assert np.allclose(whole.stderr[n], parts.stderr[n], rtol=1e-9, atol=1e-15)


# --- standard errors -------------------------------------------------------------------------------------------------
ERRORS = {"replicates": (scg.ScoreFunction(), 30, 0.05), "few groups": (None, 30, 0.15),
          "groups": (scg.ScoreFunction(scg.LeaveOneOut(group=2)), 80, 0.05)}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("name", (pytest.param("latent", marks=pytest.mark.full), "shared"))
def test_stderr_is_the_sd_of_the_result(name, case):
    strategy, samples, tolerance = ERRORS[case]
    f, values = scg.compile(GRAPHS[name][0](), wrt=EVERY, strategy=strategy), values_of(name, 3)
    rs = [f(values, samples=samples, rng=seed) for seed in range(4000)]
    for n in ("x", "h"):
        ratio = np.sqrt(np.mean([r.stderr[n] ** 2 for r in rs], axis=0)) / np.std([r.grad[n] for r in rs], axis=0)
        assert np.all(np.abs(ratio - 1.0) < tolerance), ratio
    assert bool(rs[0].notes) == (case == "few groups")


def test_a_row_needs_groups_of_its_own():
    """Two groups in each of 40 rows say enough of the mean over rows, and too little of any one row."""
    f = scg.compile(latent(), wrt=("m", "x"), strategy=scg.ScoreFunction(scg.LeaveOneOut(group=10)), backend="numpy")
    r = f(values_of("latent", 40), samples=20, rng=0)
    assert len(r.notes) == 1 and "in a row" in r.notes[0]
    assert f(values_of("latent", 2), samples=320, rng=0).notes == ()
    only = scg.compile(latent(), wrt="m", strategy=scg.ScoreFunction(scg.LeaveOneOut(group=10)), backend="numpy")
    assert only(values_of("latent", 40), samples=20, rng=0).notes == ()


@pytest.mark.by_python
@each_backend
def test_without_stderr(backend):
    f, bare = (scg.compile(latent(), wrt=EVERY, backend=backend, stderr=s) for s in (True, False))
    r, b = f(values_of("latent"), samples=90, rng=0), bare(values_of("latent"), samples=90, rng=0)
    assert all(np.allclose(r.grad[n], b.grad[n], rtol=1e-12) for n in r.grad)
    assert all(np.isnan(b.stderr[n]).all() and b.stderr[n].shape == r.stderr[n].shape for n in r.grad)


# --- corners ---------------------------------------------------------------------------------------------------------
@pytest.mark.by_python
@each_backend
@pytest.mark.parametrize("sites", ("none", "own", "shared"))
def test_what_no_sample_weighs(sites, backend):
    """Gradients that do not vary by replicate, by row, or at all."""
    g = scg.Graph("constants")
    theta, x, u, _ = g.param("theta"), g.data("x"), g.data("u", (2, 2)), g.data("unused", 3)
    if sites != "none":
        g.cost("noise", g.sample("z", scg.Normal(loc=theta, scale=1.0), per_row=sites == "own") ** 2)
    g.cost("square", x**2)
    g.cost("linear", theta * u)
    values = {"theta": 0.5, "x": [1.0, -2.0, 3.0], "u": np.ones((3, 2, 2)), "unused": np.zeros((3, 3))}
    for samples in (1, 5):
        r = scg.compile(g, wrt=("x", "u", "unused", "theta"), backend=backend)(values, samples=samples, rng=0)
        assert np.allclose(r.grad["x"], 2.0 * np.array(values["x"]) / 3)
        assert np.allclose(r.grad["u"], 0.5 / 3) and r.grad["u"].shape == (3, 2, 2)
        assert r.grad["unused"].shape == (3, 3) and not r.grad["unused"].any()
        for n in ("x", "u", "unused"):
            assert not r.stderr[n].any()  # also with one sample: what is the same in every replicate is known


@each_backend
def test_records_and_precision(backend):
    values = values_of("shared", 4)
    f, single = (scg.compile(shared(), wrt=EVERY, backend=backend, dtype=d) for d in ("float64", "float32"))
    with run_by_python():
        r = f(values, samples=70, rng=0)
        recorded = f(values, samples=70, rng=0, record=("b", "h"))
    assert recorded.record["h"].shape == (4, 70, 2)
    assert all(np.allclose(recorded.grad[n], r.grad[n], rtol=1e-12) for n in r.grad)
    s = single(values, samples=70, rng=0)
    for n in r.grad:
        assert s.grad[n].dtype == np.float32 and s.stderr[n].dtype == np.float64
        assert np.all(np.abs(s.grad[n] - r.grad[n]) < 8 * r.stderr[n] + 1e-4)


@pytest.mark.by_python
@each_backend
def test_verdict_and_verify_stay(backend):
    f, by_row = (scg.compile(latent(), wrt=wrt, backend=backend) for wrt in (None, EVERY))
    assert str(f.verdict) == str(by_row.verdict)
    assert scg.verify(by_row, values_of("latent")).passed


@pytest.mark.by_python
@each_backend
def test_nonfinite_gradient_of_a_row(backend):
    g = scg.Graph("root")
    x = g.data("x")
    g.cost("loss", scg.sqrt(x) * g.sample("z", scg.Normal(loc=g.param("m"), scale=1.0), per_row=True))
    values = {"m": 0.0, "x": [1.0, 0.0]}
    assert np.isfinite(scg.compile(g, backend=backend)(values, samples=3, rng=0).cost)
    with pytest.raises(scg.NonFiniteError, match=r"sqrt|derivative"):
        scg.compile(g, wrt="x", backend=backend)(values, samples=3, rng=0)


@pytest.mark.by_python
@each_backend
def test_refusals(backend):
    g = scg.Graph("refusals")
    x = g.data("x")
    z = g.sample("z", scg.Normal(loc=x, scale=1.0))
    g.node("more", 2.0 * z)
    g.cost("jump", scg.where(x > 0.0, z, -z))

    def step(carry, at):
        return carry + g.node("inside", at * x), None

    g.cost("loop", g.scan(step, 0.0, xs=np.ones(3))[0])
    for name, why in (("z", "replicate"), ("more", "replicate"), ("inside", "scan")):
        with pytest.raises(scg.DeclarationError, match=f'test_wrt.py:.*"{name}".*{why}.*Name params'):
            scg.compile(g, wrt=("x", name), backend=backend)
    with pytest.raises(scg.ConditionError, match="jumps"):  # data that is differentiated must not decide a branch
        scg.compile(g, wrt="x", backend=backend)


# --- what wrt leaves out ---------------------------------------------------------------------------------------------
def threshold(g, s, p):
    """A jump where the number that is left out stands, and a bound that it would move."""
    x = g.sample("x", scg.Normal(loc=p, scale=1.0))
    g.cost("c", 1.0 * (x < s) + 0.1 * g.sample("u", scg.Uniform(low=0.0, high=2.0 + s)))


def factors(g, s, p):
    """Sites that the number left out alone would move: at the edge of a range, and without a path or a score."""
    x = g.sample("x", scg.Normal(loc=p, scale=1.0))
    z = g.sample("z", scg.Gamma(concentration=scg.exp(s), rate=1.0))
    g.cost("c", x * z * (1.0 + g.sample("k", scg.Bernoulli(probs=s - 0.3))))


def inventory(g, s, p):
    """Order up to 4 below the level s, in every one of three periods; the demand's rate is p."""
    def step(stock, _):
        stock = scg.where(stock < s, 4.0, stock)
        left = stock - g.sample("demand", scg.Poisson(rate=scg.exp(p)))
        g.cost("c", scg.maximum(left, 0.0) + 3.0 * scg.maximum(-left, 0.0))
        return left, None

    g.scan(step, 2.0, length=3)


def written(cost, *params) -> scg.Graph:
    """A graph of s and p, of which these are params, the others inputs."""
    g = scg.Graph("left out")
    cost(g, *((g.param if name in params else g.input)(name) for name in ("s", "p")))
    return g


@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction(), scg.WeakDerivative(), {"x": scg.WeakDerivative()}],
                         ids=str)
@pytest.mark.parametrize("cost", [threshold, factors, inventory])
def test_a_param_that_is_left_out_is_an_input(cost, strategy):
    """Nothing is asked of it, by checks, policy, estimators or calls: the same verdicts, terms and numbers."""
    if isinstance(strategy, dict) and cost is inventory:
        strategy = {"demand": scg.ScoreFunction(scg.MovingAverage())}
    left, given = (scg.compile(written(cost, *params), wrt=["p"] if "s" in params else None, strategy=strategy,
                               backend="numpy") for params in (("s", "p"), ("p",)))
    assert str(left.verdict) == str(given.verdict) and str(left.surrogate) == str(given.surrogate)
    a, b = (f({"s": 0.3, "p": 0.5}, samples=64, rng=0) for f in (left, given))
    assert a.grad == b.grad and a.stderr == b.stderr and a.cost == b.cost and list(a.grad) == ["p"]


@pytest.mark.parametrize("cost", [threshold, factors, inventory])
def test_of_a_cost_alone_nothing_is_asked(cost):
    a, b = (scg.compile(written(cost, *params), wrt=(), backend="numpy")({"s": 0.3, "p": 0.5}, samples=64, rng=0)
            for params in (("s", "p"), ()))
    assert a.cost == b.cost and a.grad == {}


def test_the_gradient_in_what_is_left():
    f = scg.compile(written(threshold, "s", "p"), wrt=["p"], backend="numpy")
    r = f({"s": 0.3, "p": 0.5}, samples=40_000, rng=0)
    right = -np.exp(-0.5 * 0.2**2) / np.sqrt(2.0 * np.pi)  # of P(x < s), the normal density at s
    assert abs(r.grad["p"] - right) < 5.0 * r.stderr["p"] < 0.03
    for wrt in (None, ["s", "p"]):
        with pytest.raises(scg.SCGError, match=r"jumps|depends on what is differentiated"):
            scg.compile(written(threshold, "s", "p"), wrt=wrt, backend="numpy")


def test_the_formula_of_what_is_left_out_is_refused():
    surrogate = scg.compile(written(factors, "s", "p"), wrt=["p"], backend="numpy").surrogate
    assert surrogate.gradient("p") != 0
    with pytest.raises(scg.DeclarationError, match=r'"s".*leaves it out'):
        surrogate.estimator("s")


def test_the_expectation_is_that_of_what_is_left():
    def cost(g, s, p):
        b = g.sample("b", scg.Bernoulli(logits=p))
        g.cost("c", (b - 0.45) ** 2 * scg.floor(s) + g.sample("k", scg.Bernoulli(probs=s - 2.0)) * b)

    f = scg.compile(written(cost, "s", "p"), wrt=["p"], backend="numpy")
    found = scg.verify(f, {"s": 2.0, "p": 0.5})
    given = scg.verify(scg.compile(written(cost, "p"), backend="numpy"), {"s": 2.0, "p": 0.5})
    assert found.passed and given.passed


def test_the_advice_at_a_jump_that_a_param_moves_compiles():
    """As the error says: the param goes where the distribution is, and the gradient is that of the normal's tail."""
    with pytest.raises(scg.ConditionError, match=r"in place of x < s.*Normal\(loc=p - s, scale=1\) and ask d < 0"):
        scg.compile(written(threshold, "s", "p"), backend="numpy")
    g = scg.Graph("moved")
    s, p = g.param("s"), g.param("p")
    g.cost("c", g.sample("d", scg.Normal(loc=p - s, scale=1.0)) < 0.0)
    r = scg.compile(g, backend="numpy")({"s": 0.3, "p": 0.5}, samples=40_000, rng=0)
    right = np.exp(-0.5 * 0.2**2) / np.sqrt(2.0 * np.pi)
    assert abs(r.grad["s"] - right) < 5.0 * r.stderr["s"] < 0.03 and np.isclose(r.grad["p"], -r.grad["s"])
