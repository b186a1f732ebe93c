"""Law: what moves elements (reshape, transposes, parts, stacks, indices) moves them in kernels as in NumPy.

The views are applied to arrays of positions by NumPy itself: that says which element of the source stands where, and
so the value and the gradient of any weighted sum. Sizes are such that kernels loop over elements instead of writing
them out.
"""

import numpy as np
import pytest
from scg_numpy.interpreter import Evaluation, run

import scg
from scg.differentiate.reverse_mode import gradients
from scg.ir.op import OPS
from scg.ir.traverse import topological
from scg.ops.structure import moved


def _reshaped(x, rng):
    size = int(np.prod(x.shape))
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    first = int(rng.choice(divisors))
    rest = size // first
    second = int(rng.choice([d for d in divisors if rest % d == 0]))
    return np.reshape(x, (first, second, rest // second) if rng.random() < 0.5 else (first, rest))


def _transposed(x, rng):
    return np.transpose(x, tuple(int(d) for d in rng.permutation(len(x.shape))))


def _part(x, rng):
    index = []
    for n in x.shape:
        kind = rng.integers(4)
        if kind == 0 and n > 2:
            index.append(slice(1, n))
        elif kind == 1:
            index.append(slice(None, None, -1))
        elif kind == 2 and n > 3:
            index.append(slice(None, None, 2))
        else:
            index.append(slice(None))
    return x[tuple(index)]


def _stacked(x, rng):
    return np.stack([x, x[::-1], 2.0 * x], axis=int(rng.integers(len(x.shape) + 1)))


def _joined(x, rng):
    return np.concatenate([x, x[..., ::-1]], axis=int(rng.integers(len(x.shape))))


def _picked(x, rng):
    if len(x.shape) < 2:
        return x[rng.integers(0, x.shape[0], 30)]
    rows, columns = (rng.integers(0, n, (5, 6)) for n in x.shape[:2])
    return x[rows, columns]


def _spread(x, rng):
    return np.broadcast_to(x, (3, *x.shape))


VIEWS = (_reshaped, _transposed, _part, _stacked, _joined, _picked, _spread)


def _chain(seed, used=None):
    """A random composition of views, which does the same each time that it is called; `used` is told which they are."""

    def view(x):
        rng = np.random.default_rng(seed)
        for _ in range(int(rng.integers(1, 4))):
            kind = VIEWS[rng.integers(len(VIEWS))]
            x = kind(x, rng)
            if used is not None:
                used.add(kind)
            if len(x.shape) == 0 or np.prod(x.shape) > 800:
                break
        return x

    return view


def _moved(view, source):
    """What a view makes of an array, and the gradient of Σ w · view(x) as a function of w; by NumPy alone."""
    moved = np.asarray(view(source))
    columns = np.eye(source.size).reshape(source.size, *source.shape)
    matrix = np.stack([np.ravel(view(column)) for column in columns], axis=1)
    return moved, lambda w: (np.ravel(w) @ matrix).reshape(source.shape)


SHAPES = ((4, 9), (24,), (2, 3, 6), (5, 7), (36, 1), (3, 4, 5))
BRIEF = {"param": (0, 1), "data": (2, 3)}  # of eight chains of a seed, those that are in its kernel without --full
ALL = {"param": range(8), "data": range(8)}


@pytest.mark.by_python
@pytest.mark.parametrize("seed", range(len(SHAPES)))
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_views_of_params_and_data(seed, backend, request):
    chosen = ALL if backend == "numpy" or request.config.getoption("--full") else BRIEF
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed]
    views = [_chain(100 * seed + i) for i in range(8)]
    source, rows = rng.normal(size=shape), rng.normal(size=(3, *shape))
    g = scg.Graph("views")
    p, d, t = g.param("p", shape), g.data("d", shape), g.param("t")
    costs, slope, gradient = {}, 0.0, np.zeros(shape)
    for i in chosen["param"]:
        view, (moved, back) = views[i], _moved(views[i], np.sin(source))
        w = rng.normal(size=moved.shape)
        g.cost(f"param {i}", (w * view(np.sin(p))).sum())
        costs[f"param {i}"] = (w * moved).sum()
        gradient += back(w) * np.cos(source)
    for i in chosen["data"]:
        view, w = views[i], rng.normal(size=np.shape(views[i](source)))
        g.cost(f"data {i}", t * (w * view(d)).sum())
        each = np.mean([(w * view(row)).sum() for row in rows])
        costs[f"data {i}"], slope = 0.7 * each, slope + each
    r = scg.compile(g, backend=backend, stderr=False)({"p": source, "d": rows, "t": 0.7})
    for name, right in costs.items():
        assert np.isclose(r.costs[name], right, rtol=1e-9, atol=1e-9), name
    assert np.allclose(r.grad["p"], gradient, rtol=1e-9, atol=1e-9)
    assert np.isclose(r.grad["t"], slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("leaf", BRIEF)
def test_every_view_is_in_a_kernel(leaf):
    """Of params and of data: the chains that are compiled without --full have all of them."""
    used = set()
    for seed, shape in enumerate(SHAPES):
        for i in BRIEF[leaf]:
            _chain(100 * seed + i, used)(np.zeros(shape))
    assert used == set(VIEWS)


def test_products_of_what_is_moved():
    """A kernel's matrix products, and a power, read the right element through a reshape of a slice or a transpose."""
    rng = np.random.default_rng(0)
    array, w, along = (rng.normal(size=s) for s in ((6, 8), (48,), (6, 8)))
    cases = {"product": lambda x: (x.reshape(8, 6) @ w[:6] * w[:8]).sum(),
             "of a transpose": lambda x: (x.T.reshape(3, 16) @ w[:16] * w[:3]).sum(),
             "elements": lambda x: x[3, 2] * x[1, 5],
             "power": lambda x: (x[2:, ::2].reshape(8, 2)[3:, 1] ** 2).sum(),
             "lists": lambda x: (x[np.array([0, 2]), np.array([1, 1])] * np.array([1.0, 10.0])).sum()}
    g = scg.Graph("products")
    x = g.param("x", (6, 8))
    for name, case in cases.items():
        g.cost(name, case(x))
    r = scg.compile(g)({"x": array}, rng=0)
    for name, case in cases.items():
        np.testing.assert_allclose(r.costs[name], case(array), rtol=1e-12, err_msg=name)
    slope = sum((case(array + 1e-5 * along) - case(array - 1e-5 * along)) / 2e-5 for case in cases.values())
    np.testing.assert_allclose((r.grad["x"] * along).sum(), slope, rtol=1e-7)


@pytest.mark.by_python
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_views_of_draws_and_in_loops(seed, backend, request):
    """Recorded draws, and a carry whose elements change places at every step."""
    chains = 4 if backend == "numpy" or request.config.getoption("--full") else 2
    rng = np.random.default_rng(seed)
    shape = ((6, 8), (4, 3, 4), (40,))[seed]
    views = [_chain(1000 + 10 * seed + i) for i in range(chains)]
    g = scg.Graph("views")
    p, t = g.param("p", shape), g.param("t")
    x = g.sample("x", scg.Normal(loc=p, scale=1.0))
    weights = [rng.normal(size=np.shape(view(np.zeros(shape)))) for view in views]
    for i, (view, w) in enumerate(zip(views, weights)):
        g.node(f"node {i}", (w * view(x)).sum())
        g.cost(f"cost {i}", (w * view(x)).sum())
    turn = rng.permutation(len(shape))
    place = rng.permutation(int(np.prod(shape)))

    def moved(c):
        turned = np.reshape(np.transpose(c, tuple(int(d) for d in turn)), (-1,))
        return np.reshape(turned[place], shape)

    start = rng.normal(size=shape)
    last, _ = g.scan(lambda c, _: (t * moved(c), None), start, length=3)
    w = rng.normal(size=shape)
    g.cost("loop", (w.reshape(-1) * last.reshape(-1)).sum())
    f = scg.compile(g, strategy=scg.Pathwise(), backend=backend, stderr=False)
    r = f({"p": start, "t": 0.9}, samples=64, rng=seed, record=["x", *(f"node {i}" for i in range(len(views)))])
    draws = r.record["x"].reshape(-1, *shape)
    gradient = np.zeros(shape)
    for i, (view, w_) in enumerate(zip(views, weights)):
        right = np.array([(w_ * view(draw)).sum() for draw in draws])
        assert np.allclose(r.record[f"node {i}"].reshape(-1), right, rtol=1e-9, atol=1e-9)
        gradient += _moved(view, start)[1](w_)
    assert np.allclose(r.grad["p"], gradient, rtol=1e-9, atol=1e-9)
    end = moved(moved(moved(start)))
    assert np.isclose(r.costs["loop"], 0.9**3 * (w * end).sum(), rtol=1e-9, atol=1e-9)
    assert np.isclose(r.grad["t"], 3 * 0.9**2 * (w * end).sum(), rtol=1e-9, atol=1e-9)


def test_values_are_those_of_the_index_maps():
    """Of ops that say where elements come from and, for speed, have a value of their own; of rows and gradients too."""
    rng, g = np.random.default_rng(0), scg.Graph("maps")
    d, p, k = g.data("d", (4, 6)), g.param("p", (4, 6)), g.data("k", 3)
    views = [_chain(10_000 + i)(x) for i in range(30) for x in (d * p, p)]
    views += [scg.take(d * p, k % 5), p[k % 4, 1:3].T, scg.stack([p, d], axis=1), scg.concatenate([d * p, p])[::-2]]
    cost = sum((v * v).sum() for v in views)
    roots = [cost, *gradients({cost: 1.0}, [p])]
    values = {"d": rng.normal(size=(5, 4, 6)), "p": rng.normal(size=(4, 6)), "k": rng.integers(0, 6, (5, 3))}
    known = {}
    run(roots, Evaluation(values, {"row": 5, "lane": 1}), known)
    seen = set()
    for n in topological(roots):
        if n.op.moves:
            found = moved(n, [known[a.id] for a in n.args])
            np.testing.assert_array_equal(*np.broadcast_arrays(found, known[n.id]), err_msg=n.op.name)
            seen.add(n.op.name)
    assert seen == {name for name, op in OPS.items() if op.moves and op.value is not moved}
