"""Matrix products: nets so small that they can be enumerated, with every product made a matrix product.

What Python makes of a plan, and of a kernel's text, is what the reference makes of it, range by range; what they give
for fed noise has the exact gradient as its mean; compiled kernels give the same bits on any number of workers.
"""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from scg_numba.products import finish_at_once
from scg_numba.running import Workspace, numbers_of

import scg
from scg import large
from scg.derive import derive
from scg.errors import SCGError
from scg.expectation.law import expected_by_kernel
from scg.passes import summed_steps
from scg.passes.outputs import program_of
from scg.run import executors, moments
from scg.run.executors import most_kept, processors
from scg.schedule import language as lang
from scg.schedule import plan, products
from scg.schedule.check import faults
from scg.simplification import simplified
from tests.laws.checks import loops
from tests.laws.checks.exact_law import baselines
from tests.laws.checks.plain_kernels import run_by_python

pytestmark = pytest.mark.optimised


@pytest.fixture(autouse=True)
def _all_large(monkeypatch):
    """Whatever its size, a product is a matrix product."""
    monkeypatch.setattr(products, "LEAST", 1)
    monkeypatch.setattr(summed_steps, "LARGE", 1)


def belief_net(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """A recognition model and a generative one, of two layers of bits each."""
    v, h, k = sizes
    x = g.data("x", v)
    log_p = lambda z, a: np.sum(z * a - scg.softplus(a))
    a = g.param("w1", (h, v)) @ x + g.param("c1", h)
    z = g.sample("z", scg.Bernoulli(logits=a))
    b = z @ g.param("w2", (h, k))
    y = g.sample("y", scg.Bernoulli(logits=b))
    back, top = g.param("p1", (k, h)), g.param("b2", k)
    return (log_p(z, a) + log_p(y, b) - log_p(x, g.param("p0", (v, h)) @ z) - log_p(z, back.T @ y) - log_p(y, top))


def shared_weight(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """A weight that is used twice, once transposed, and decays."""
    v, h, _ = sizes
    w = g.param("w", (h, v))
    z = g.sample("z", scg.Bernoulli(logits=np.tanh(w @ g.data("x", v))))
    return np.sum(np.tanh(w.T @ z)) - 0.3 * np.sum(w * w) + np.sum(g.param("u", (h, h)) @ np.tanh(w @ g.data("t", v)))


def matrices(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """Values that are matrices, in stacks and transposed, beside literals, and of a weight alone."""
    v, h, k = sizes
    m, stack = np.cos(np.arange(v * h)).reshape(v, h), g.param("s", (2, h, k))
    z = g.sample("z", scg.Bernoulli(logits=g.param("w", (h, v)) @ g.data("x", (v, k))))
    return np.sum(np.tanh(m @ z @ z.T)) + np.sum(z.T @ stack * (stack.reshape(2, k, h) @ z)) + np.sum(m @ stack[0])


def pathwise(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """An autoencoder whose code is normal."""
    v, h, k = sizes
    x = g.data("x", v)
    hidden = np.tanh(g.param("w1", (h, v)) @ x)
    z = g.sample("z", scg.Normal(g.param("m", (k, h)) @ hidden, np.exp(g.param("s", (k, h)) @ hidden)))
    return np.sum((x - g.param("p0", (v, h)) @ np.tanh(g.param("p1", (h, k)) @ z)) ** 2)


def masked(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """Densities of data, which are masked where these are not bits."""
    v, h, _ = sizes
    x = g.data("x", v)
    z = g.sample("z", scg.Bernoulli(logits=scg.nn.dense(g, "up", x, h)))
    seen = scg.where(x > 0.0, 1.0, 0.0)
    return -np.sum(scg.Bernoulli(logits=scg.nn.dense(g, "down", z, v)).log_prob(seen))


def natural_belief_net(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """Two layers of bits, by families' own densities."""
    v, h, k = sizes
    x = g.data("bits", v)
    up = scg.Bernoulli(logits=scg.nn.dense(g, "up", x, h))
    z = g.sample("z", up)
    top = scg.Bernoulli(logits=scg.nn.dense(g, "top", z, k))
    y = g.sample("y", top)
    down = scg.Bernoulli(logits=scg.nn.dense(g, "down", y, h)).log_prob(z).sum()
    image = scg.Bernoulli(logits=scg.nn.dense(g, "image", z, v)).log_prob(x).sum()
    return up.log_prob(z).sum() + top.log_prob(y).sum() - down - image


def natural_autoencoder(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """A density of data, which is −∞ outside of its support, and a divergence, which is NaN for a scale below 0."""
    v, h, k = sizes
    x = g.data("bits", v)
    hidden = np.tanh(scg.nn.dense(g, "hidden", x, h))
    q = scg.Normal(scg.nn.dense(g, "loc", hidden, k), np.exp(scg.nn.dense(g, "scale", hidden, k)))
    back = np.tanh(scg.nn.dense(g, "back", g.sample("z", q), h))
    image = scg.Bernoulli(logits=scg.nn.dense(g, "image", back, v))
    return scg.kl_divergence(q, scg.Normal(0.0, 1.0)).sum() - image.log_prob(x).sum()


def recurrent(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """A weight that every step reads, of a loop over three steps; a second one, of what the step draws."""
    v, h, _ = sizes
    w, u = g.param("w", (h, h)), g.param("u", (h, v))

    def step(carry, x):
        hidden = np.tanh(w @ carry + u @ x)
        z = g.sample("z", scg.Normal(hidden, 1.0))
        return np.tanh(w @ z), np.sum(np.sin(z) * hidden)

    last, costs = g.scan(step, np.full(h, 0.3), xs=g.data("x", (3, v)))
    return costs.sum() + last.sum()


def averaged(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """A weight that is multiplied and divided by numbers where it is used."""
    v, h, _ = sizes
    w, x = g.param("w", (h, v)), g.data("x", v)
    z = g.sample("z", scg.Bernoulli(logits=(w / 7.0) @ x))
    return np.sum(np.tanh((0.3 * w) @ x + z))


NETS = {f.__name__: f for f in (averaged, belief_net, shared_weight, matrices, pathwise, masked,
                                natural_belief_net, natural_autoencoder, recurrent)}
SIZES = [(2, 3, 2), (1, 3, 1), (3, 1, 5), (1, 1, 1)]


def graph_of(net: str, sizes: tuple[int, ...], rows: int = 3) -> tuple[scg.Graph, dict]:
    """A net, and values for it."""
    g, rng = scg.Graph(net), np.random.default_rng(7)
    g.cost("c", NETS[net](g, sizes))
    values = {name: rng.normal(size=leaf.shape) for name, leaf in g.params.items()}
    given = {name: rng.normal(size=(rows, *leaf.shape)) for name, leaf in g.rows.items()}
    return g, values | {name: 1.0 * (x > 0.0) if name == "bits" else x for name, x in given.items()}


@pytest.fixture
def by_loops(monkeypatch):
    """A backend of that name, which runs plans and holds them to the reference."""
    monkeypatch.setitem(sys.modules, "scg_loops", SimpleNamespace(compile=loops.HeldToReference))


CASES = [pytest.param(net, sizes, dtype, rows, marks=[] if i % 4 == j and k == i % 2 else pytest.mark.full)
         for i, net in enumerate(NETS) for j, (sizes, rows) in enumerate(zip(SIZES, (3, 1, 4, 1)))
         for k, dtype in enumerate(("float64", "float32"))]


@pytest.mark.parametrize("net, sizes, dtype, rows", CASES)
def test_plans_and_texts_are_what_the_reference_computes(net, sizes, dtype, rows, by_loops):
    g, values = graph_of(net, sizes, rows)
    f = scg.compile(g, backend="loops", dtype=dtype)
    assert f._layout.compared
    right = f(values, samples=9, rng=3)
    with run_by_python():
        found = scg.compile(g, dtype=dtype, stderr=False)(values, samples=9, rng=3)
    tolerance = 1e-9 if dtype == "float64" else 3e-4
    for name in right.grad:
        np.testing.assert_allclose(found.grad[name], right.grad[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("net, baseline", [*(("belief_net", baseline) for baseline in baselines()),
                                           ("natural_belief_net", scg.LeaveOneOut())], ids=repr)
def test_the_mean_is_the_exact_gradient(net, baseline, by_loops):
    g, values = graph_of(net, (2, 2, 1), 1)
    found = expected_by_kernel(derive(g, scg.ScoreFunction(baseline)), values, "loops")
    right = scg.exact(g, values)
    for name in right.grad:
        np.testing.assert_allclose(found.grad[name], right.grad[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.full), "float32"])
def test_any_number_of_workers_gives_the_same_bits_in_the_same_memory(dtype):
    """Of a net that has too many means for all chunks' to be kept."""
    g, values = graph_of("belief_net", (60, 71, 2), 5)
    f = scg.compile(g, dtype=dtype)
    object.__setattr__(f._layout, "chunk_lanes", 64)
    assert len(f._calls.division(5, 200)[0].chunks) > 4
    here = f(values, samples=200, rng=5)
    numpy = scg.compile(g, dtype=dtype, backend="numpy")
    object.__setattr__(numpy._layout, "chunk_lanes", 64)  # which replicates are compared is a matter of the chunks
    right = numpy(values, samples=200, rng=5)
    for workers in (1, 2, 7):
        with ThreadPoolExecutor(workers) as pool:
            found = f(values, samples=200, rng=5, executor=pool)
        for name in here.grad:
            np.testing.assert_array_equal(found.grad[name], here.grad[name])
            np.testing.assert_array_equal(found.stderr[name], here.stderr[name])
            np.testing.assert_allclose(found.stderr[name], right.stderr[name], rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found.grad[name], right.grad[name], rtol=1e-3, atol=1e-4)
    kept = most_kept(processors(), True) + 1 + 3
    assert peak_of(lambda: f(values, samples=1000, rng=5)) < kept * numbers_of(f._layout).nbytes


def tied(g: scg.Graph, sizes: tuple[int, ...]) -> scg.Node:
    """A weight whose gradient is a sum of two products."""
    v, h, _ = sizes
    w, x = g.param("w", (h, v)), g.data("x", v)
    z = g.sample("z", scg.Normal(w @ x, 1.0))
    return np.sum(np.tanh(w.T @ z) * x)


@pytest.mark.parametrize("net, said", [(belief_net, "the first tile in their place"), (tied, ", in their place")])
def test_what_stood_in_the_numbers_before_is_not_seen(net, said):
    """Where means are many, arrays are used again as they are: over some tiles, and some ranges."""
    g = scg.Graph("net")
    g.cost("cost", net(g, (60, 71, 2)))
    rng = np.random.default_rng(0)
    values = {name: 0.1 * rng.standard_normal(node.shape) for name, node in g.params.items()}
    values["x"] = rng.standard_normal((2, 60))
    f = scg.compile(g, stderr=False)
    assert said in f.schedule
    first = f(values, samples=1200, rng=5)
    division = f._calls.division(2, 1200)[0]
    assert len(division.chunks) > 1 and max(c.k1 - c.k0 for c in division.chunks) > 512
    numbers, plain = numbers_of(f._layout), np.empty(*f._kernel._workspace.sizes[1])
    large._spare.clear()
    large.used_up(*(np.full_like(array, np.nan) for array in (numbers, plain) for _ in range(large.SPARES)))
    second = f(values, samples=1200, rng=5)
    assert first.cost == second.cost and np.isfinite(first.cost)
    for name in first.grad:
        np.testing.assert_array_equal(first.grad[name], second.grad[name])


@pytest.mark.parametrize("bad", [0.0, 1e-44, np.nan, np.inf])
@pytest.mark.parametrize("dtype, share", [("float64", (1.0, 49.0)), ("float32", (1.0 / 49.0, 1.0))])
@pytest.mark.parametrize("more", [True, False])
def test_the_last_part_of_sums_is_added_as_is_defined(bad, dtype, share, more):
    sums, last = np.random.default_rng(0).standard_normal((2, 1001)).astype(dtype)
    sums[700], last[700] = bad, 0.0
    sums[400] = np.nan  # which belongs to nothing
    last = last[: 1001 if more else 0]
    runs = np.array([[0, 400], [401, 401], [500, 1001]])
    defined, found = np.zeros((2, 1001), dtype)
    good = bad == 0.0 or (bad == 1e-44 and dtype == "float64")
    assert moments.finish(sums, last, *share, defined, runs) == finish_at_once(sums, last, *share, found, runs) == good
    np.testing.assert_array_equal(found, defined)
    assert found[0] != 0.0 and found[1000] != 0.0 and not found[400:500].any()


def of_size(scale: float) -> tuple[scg.EstimatorFunction, dict]:
    """A weight whose gradient is summed as it comes, of numbers of that size, in float32."""
    g = scg.Graph("net")
    w, x, y = g.param("w", (60, 71)), g.data("x", 71), g.data("y", 60)
    z = g.sample("z", scg.Normal(w @ x, 1.0))
    g.cost("cost", z @ y)
    values = {"w": np.zeros((60, 71)), "x": np.full((3, 71), scale), "y": np.ones((3, 60))}
    return scg.compile(g, dtype="float32", stderr=False), values


def test_sums_of_ranges_of_one_tile_stand_apart_and_have_the_same_bits(monkeypatch):
    f, values = of_size(0.3)
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(value.shape) for name, value in values.items()}
    taken, of_workspace = [], Workspace.taken

    def noted(workspace, *given):
        found = of_workspace(workspace, *given)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(Workspace, "taken", noted)
    for samples, parts, apart in ((7, 1, 1), (150, 2, 2), (300, 2, 1), (900, 3, 0), (2000, 2, 0)):
        object.__setattr__(f._layout, "chunk_lanes", -(-3 * samples // parts // 64) * 64)
        f._calls._divisions.clear()
        taken.clear()
        right = f(values, samples=samples, rng=2)
        assert len(taken) == parts and sum(taken) == apart
        assert bool(right._merged.large) == (apart == parts)
        assert right.grad["w"].any() and right.grad["w"].dtype == np.float32
        with ThreadPoolExecutor(2) as pool:
            found = f(values, samples=samples, rng=2, executor=pool)
        assert bool(found._merged.large) == (apart == parts)
        np.testing.assert_array_equal(found.grad["w"], right.grad["w"])
        np.testing.assert_array_equal(*(r._merged.mean.astype(np.float32) for r in (found, right)))


@pytest.mark.parametrize("parts", [1, 2])
def test_results_that_are_dropped_are_written_again_and_no_others(parts, monkeypatch):
    """Those of which somebody has a part, however it was taken, are somebody's."""
    monkeypatch.setattr(large, "PAGES", 1 << 10)  # of so few elements the memory would otherwise be the allocator's
    monkeypatch.setattr(executors, "processors", lambda: 1)  # every other thread has arrays that it works in
    f, values = of_size(0.3)
    values = {name: np.float32(value) for name, value in values.items()}
    object.__setattr__(f._layout, "chunk_lanes", 448 // parts // 64 * 64 + 64)
    assert len(f._calls.division(3, 150)[0].chunks) == parts

    def step(seed):
        return f(values, samples=150, rng=seed).grad["w"]

    for seed in range(3):
        step(seed)
    assert peak_of(lambda: [step(seed).sum() for seed in range(8)]) < 2 * step(0).nbytes
    r = f(values, samples=150, rng=0)
    taken = [r.grad["w"], r.grad["w"][3:5].T, memoryview(r.grad["w"])[7:], np.asarray(memoryview(r.grad["w"]))[50:],
             np.from_dlpack(r.grad["w"])[::2], r.grad["w"].ravel()[5:99], r.grad["w"].view(np.int32)]
    before = [np.array(part) for part in taken]
    del r
    for seed in range(1, 9):
        step(seed)
    for part, was in zip(taken, before):
        np.testing.assert_array_equal(part, was)


def test_what_is_said_of_numbers_is_said_of_sums_that_stand_apart():
    f, values = of_size(1e-45)
    r = f(values, samples=4, rng=0)
    assert r.grad["w"].any() and not r.notes
    values["y"][1:] = 0.0  # a third of the least number
    r = f(values, samples=4, rng=0)
    assert not r.grad["w"].any() and "gradients too small for float32 are 0: w" in r.notes
    f, values = of_size(3e38)
    values["y"] *= 2.0
    with pytest.raises(scg.NonFiniteError):
        f(values, samples=4, rng=0)


@pytest.mark.parametrize("sizes, rows", [((60, 71, 2), 20),
                                         pytest.param((784, 200, 200), 100, marks=pytest.mark.full)], ids=str)
@pytest.mark.parametrize("workers", [1, 2])
def test_peak_memory_is_the_same_for_many_samples(sizes, rows, workers, monkeypatch):
    """Of 10 and of 1,000 of each row, but for results that wait for an earlier one's where several threads work."""
    monkeypatch.setattr(executors, "processors", lambda: workers)
    g, values = graph_of("belief_net", sizes, rows)
    f = scg.compile(g, dtype="float32", stderr=False)
    if rows == 20:
        object.__setattr__(f._layout, "chunk_lanes", 64)  # chunks as many as the large net has
    for samples in (10, 1000):
        f(values, samples=samples, rng=1)  # compiles, and every thread has its arrays
    peaks = {}
    for samples in (10, 1000):
        large._spare.clear()
        peaks[samples] = peak_of(lambda n=samples: f(values, samples=n, rng=5))
    chunks = [len(f._calls.division(rows, n)[0].chunks) for n in (10, 1000)]
    assert chunks[0] > 1 and chunks[1] > 50
    # with several threads, one result that is worked at while two are being added up, as large as the sums
    waiting = numbers_of(f._layout).nbytes * (most_kept(workers, True) + 1) if workers > 1 else 0
    assert numbers_of(f._layout).nbytes == 8 * f._layout.width
    assert peaks[1000] < 1.1 * peaks[10] + waiting + 1024 * chunks[1], peaks  # something is noted of each chunk


def peak_of(call) -> int:
    """How much memory is taken at most while something is done."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def planned(net: str, dtype: str = "float32") -> lang.Kernel:
    """The plan of a net."""
    return plan(simplified(program_of(derive(graph_of(net, (2, 3, 2))[0], None), dtype, False, ())))


@pytest.mark.parametrize("net", NETS)
def test_nothing_is_wrong_with_a_plan(net):
    kernel = planned(net)
    products_of = [s for block in (kernel.call, kernel.tile) for s in block if isinstance(s, lang.Contraction)]
    assert products_of
    assert net == "matrices" or all(s.large for s in products_of), "some are loops"
    assert faults(kernel) == []


@pytest.mark.parametrize("kind", [lang.SumRows, lang.AddUp, lang.ObserveTotals, lang.Contrast, lang.Compare])
def test_what_is_left_out_is_missed(kind, by_loops, monkeypatch):
    """Planted: a step of the sums over lanes."""
    def wrong(program):
        kernel = plan(program)
        less = [tuple(s for s in block if not isinstance(s, kind)) for block in (kernel.tile, kernel.end)]
        assert less != [kernel.tile, kernel.end]
        return dataclasses.replace(kernel, tile=less[0], end=less[1])

    monkeypatch.setattr(loops, "plan", wrong)
    g, values = graph_of("belief_net", (2, 3, 2))
    with pytest.raises(AssertionError):
        scg.compile(g, backend="loops", dtype="float32")(values, samples=4, rng=3)


def test_a_batch_without_rows_is_refused():
    g, values = graph_of("belief_net", (2, 3, 2), 0)
    with pytest.raises(SCGError):
        scg.compile(g, backend="numpy", stderr=False)(values, samples=4, rng=3)
