"""An element of a node depends on what that element is made of, and an element of a stack is what was stacked."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg import backend
from scg.analysis.dependence import Dependence
from scg.ir.traverse import substitute
from scg.ops.leaves import feed


def two():
    """Two coins of one param."""
    g = scg.Graph("two")
    t = g.param("t")
    return g, g.sample("z0", scg.Bernoulli(logits=t)), g.sample("z1", scg.Bernoulli(logits=t))


IS_Z1 = {
    "stack": lambda a, b: scg.stack([a, b])[1], "from the end": lambda a, b: scg.stack([a, b])[-1],
    "slice of a stack": lambda a, b: scg.stack([a, b, a])[1:][0], "backwards": lambda a, b: scg.stack([a, b])[::-1][0],
    "every second": lambda a, b: scg.stack([a, a, a, b])[1::2][1], "stack of stacks":
    lambda a, b: scg.stack([scg.stack([a, a]), scg.stack([a, b])])[1, 1], "columns":
    lambda a, b: scg.stack([scg.stack([a, a]), scg.stack([b, a])], axis=1)[0, 1], "transposed":
    lambda a, b: scg.stack([scg.stack([a, b]), scg.stack([a, a])]).T[1, 0], "iterated":
    lambda a, b: list(scg.stack([a, b]))[1], "concatenated":
    lambda a, b: scg.concatenate([scg.stack([a, a]), scg.stack([a, b])])[3],
}  # fmt: skip


@pytest.mark.parametrize("how", IS_Z1)
def test_an_element_of_a_stack_is_what_was_stacked(how):
    _, a, b = two()
    assert IS_Z1[how](a, b) is b


def test_slices_of_what_was_concatenated_are_slices_of_its_parts():
    g = scg.Graph("parts")
    x, y = g.param("x", 3), g.param("y", (2,))
    both = scg.concatenate([x, y])
    assert both[:3] is x and both[3:] is y and both[1:3] is x[1:] and both[2::-1] is x[::-1] and both[4] is y[1]
    m, n = g.param("m", (2, 3)), g.param("n", (2, 2))
    side = scg.concatenate([m, n], axis=1)
    assert side[:, :3] is m and side[:, 3:] is n
    values = {"m": np.arange(6.0).reshape(2, 3), "n": np.arange(4.0).reshape(2, 2), "x": np.arange(3.0), "y": [7, 8]}
    array, line = np.concatenate([values["m"], values["n"]], axis=1), np.concatenate([values["x"], values["y"]])
    g.cost("c", 0.0)
    places = [np.s_[:, 1:4], np.s_[::-1, 2], np.s_[1, ::2], np.s_[:, 3:1:-1], np.s_[:, 4:4], np.s_[0, -1]]
    for i, where in enumerate(places):
        g.node(f"n{i}", side[where])
        got = scg.compile(g, backend="numpy")(values, rng=0, record=f"n{i}").record[f"n{i}"][0, 0]
        np.testing.assert_array_equal(got, array[where])
    for i, where in enumerate([np.s_[2:4], np.s_[::-2], np.s_[4:1:-1]]):
        g.node(f"l{i}", both[where][::-1][1:])
        got = scg.compile(g, backend="numpy")(values, rng=0, record=f"l{i}").record[f"l{i}"][0, 0]
        np.testing.assert_array_equal(got, line[where][::-1][1:])


APART = {
    "element": lambda z: z[1], "scaled": lambda z: (2.0 * z + 1.0)[1], "reshaped": lambda z: z.reshape(2, 1).T[0, 1],
    "spread": lambda z: np.broadcast_to(z[:, None], (2, 3))[1].sum(), "chosen": lambda z: np.take(z, [1, 1]).sum(),
    "masked": lambda z: scg.where(np.array([False, True]), z, 0.0).sum(), "suffix": lambda z: np.cumsum(z[::-1])[0],
    "product": lambda z: np.outer(z, z)[1, 1],
    "function": lambda z: np.exp(np.maximum(z, 0.3))[1:].sum(),
}
TOGETHER = {
    "other element": lambda z: z[0], "sum": lambda z: z.sum(), "prefix": lambda z: np.cumsum(z)[1],
    "largest": lambda z: np.max(z), "index": lambda z: z[z[1]], "outer": lambda z: np.outer(z, z)[1, 0],
    "matrix product": lambda z: (np.ones((2, 2)) @ z)[1], "masked": lambda z: scg.where(z > 0.5, z, 0.0)[0],
}  # fmt: skip


@pytest.mark.parametrize("how", APART)
def test_an_element_is_a_baseline_of_the_other_site(how):
    g, a, b = two()
    z = scg.stack([a, b])
    g.cost("c", (z[0] + z[1]) ** 2)
    strategy = {"z0": scg.ScoreFunction(scg.Expression(APART[how](z))), "z1": scg.ScoreFunction()}
    assert scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), {"t": 0.3}).passed


@pytest.mark.parametrize("how", TOGETHER)
def test_what_holds_the_site_is_none(how):
    g, a, b = two()
    z = scg.stack([a, b])
    g.cost("c", (z[0] + z[1]) ** 2)
    with pytest.raises(scg.BaselineError, match='along sample "z0"'):
        scg.compile(g, strategy={"z0": scg.ScoreFunction(scg.Expression(TOGETHER[how](z)))}, backend="numpy")


def test_credit_is_by_element():
    """A cost made of an element of z1 alone weighs no score of z0; its derivative by t is that of z1."""
    g, a, b = two()
    z = 2.0 * scg.stack([a, b])
    g.cost("first", z[0])
    g.cost("second", z[1] ** 2)
    s = scg.ScoreFunction()
    assert dict(g.surrogate(s).incidence) == {"z0": ("first",), "z1": ("second",)}
    p = 1 / (1 + np.exp(-0.3))
    exact = scg.exact(g, {"t": 0.3})
    assert abs(float(exact.grad["t"]) - 6.0 * p * (1 - p)) < 1e-12
    assert scg.verify(scg.compile(g, strategy=s, backend="numpy"), {"t": 0.3}).passed


# --- the analysis against the interpreter -----------------------------------------------------------------------------
def _program(seed: int):
    """Random nodes over three vector sites, some of them put out by loops along others."""
    rng = np.random.default_rng(seed)
    g = scg.Graph("random")
    sites = [g.sample(f"s{i}", scg.Normal(loc=0.0, scale=1.0), shape=3) for i in range(3)]
    nodes = [*sites]
    for _ in range(14):
        x, y = (nodes[i] for i in rng.integers(0, len(nodes), 2))
        k = int(rng.integers(0, 9))
        matrix = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0], [0.5, 0.0, 0.0]])
        new = [lambda: x + y, lambda: scg.concatenate([x[1:], y[:1]]), lambda: scg.stack([x, y])[1, ::-1],
               lambda: np.cumsum(x), lambda: scg.where(np.array([True, False, True]), x, y), lambda: matrix @ x,
               lambda: np.tanh(x)[[2, 0, 0]], lambda: g.scan(lambda c, v: (0.5 * c + v, c), y[0], x)[1],
               lambda: scg.stack([x, y], axis=1)[:, 0] * 2.0 + y[2]]  # fmt: skip
        nodes.append(new[k]())
    return nodes


@pytest.mark.parametrize("seed", range(12))
def test_what_changes_with_a_draw_depends_on_it(seed):
    """Two calls of the interpreter that differ in one site's draws: an element that differs must be known to."""
    numpy = backend.load("numpy")
    nodes = _program(seed)
    rng = np.random.default_rng(seed)
    leaves = [feed(f"s{i}", (3,)) for i in range(3)]
    fed = substitute(nodes, dict(zip(nodes[:3], leaves)))
    draws = {f"s{i}": rng.normal(size=(1, 3)) for i in range(3)}

    def values(given):
        return numpy.evaluate(fed, numpy.Evaluation({}, {"row": 1, "lane": 1}, fed=given))

    before = values(draws)
    found = 0
    for site in draws:
        after = values(draws | {site: draws[site] + rng.normal(size=(1, 3))})
        known = Dependence(site)
        for n, u, v in zip(nodes, before, after):
            moved = np.broadcast_to((np.asarray(u) != np.asarray(v)).reshape(n.shape), n.shape)
            said = np.broadcast_to(np.asarray(known(n), dtype=object), n.shape) != 0
            assert not (moved & ~said).any(), n
            found += int((~said).sum())
    assert found  # and it says of some that they do not
