"""What repeats in kernels is compiled once, as a loop over times, and does what it did."""

from __future__ import annotations

import ast
import textwrap

import numpy as np
import pytest
from numba import types
from scg_numba import cache, lowering, repeated
from scg_numba.outlined import Nest, NotAlone, known_where_read, reads_of
from scg_numba.trees import Repeated, Varying, at, nodes_of

import scg

KIND = types.Array(types.float64, 1, "C")
KINDS = {"leaf0": "float", "leaf1": "float", "leaf2": "float", "leaf3": "float", "leaf4": "whole"}
HEAD = "def chunk(arena, out, leaf0, leaf1, leaf2, leaf3, leaf4, n):\n"
LAYER = """
    v{0}0 = leaf{1}[{2}]
    v{0}1 = leaf{1}[{2} + 1]
    for l in range(6):
        v{0}2 = arena[{3} * 6 + l]
        arena[{4} * 6 + l] = v{0}2 * v{0}0 + {5} * v{0}1
        if v{0}2 > 0.0:
            arena[({3} + 1) * 6 + l] = 0.5
        else:
            arena[0 * 6 + l] += 1.0
"""
PLAIN = dict(leaf=lambda k: (3 * k) % 4, first=lambda k: k, read=lambda k: 2 * k + 1, write=lambda k: 2 * k + 3,
             factor=lambda k: "2.0", between=lambda k: "")


def layers(count: int, **changed) -> str:
    """The text of so many layers, each with numbers of its own, some of which grow by no step."""
    f = {**PLAIN, **changed}
    texts = [LAYER.format(f"{k}_", *(f[name](k) for name in ("leaf", "first", "read", "write", "factor")))
             + textwrap.indent(f["between"](k), "    ") for k in range(count)]
    return f"{HEAD}    s = 1.0" + "".join(texts) + "\n    out[0] = s"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(repeated, "FEWEST_LINES", 20)


def found(code: str) -> ast.FunctionDef | None:
    return repeated.parsed([line for line in code.splitlines() if line.strip()], KINDS)


def once(x, loop: Repeated, time: int):
    """A part of a loop over times, as it is at one of them."""
    if isinstance(x, list):
        return [once(y, loop, time) for y in x]
    if isinstance(x, ast.Name):
        return ast.Name(loop.arrays[x.id][time] if x.id in loop.arrays else x.id, x.ctx)
    if isinstance(x, ast.AST):
        return type(x)(**{name: once(getattr(x, name, None), loop, time) for name in x._fields})
    return at(x, time)


def written_out(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Statements with all times one after the other."""
    out: list[ast.stmt] = []
    for s in statements:
        if isinstance(s, Repeated):
            times = range(s.iter.args[0].value)
            out += [x for k in times for x in once(s.body, s, k)]
        else:
            if isinstance(s, ast.While):
                s.body = written_out(s.body)
            out.append(s)
    return out


def computed(tree: ast.FunctionDef) -> list[float]:
    """What a function leaves in its arrays."""
    rng, namespace = np.random.default_rng(0), {}
    exec(compile(ast.fix_missing_locations(ast.Module([tree], [])), "kernel", "exec"), namespace)
    arena, out, *leaves = rng.normal(size=200), np.zeros(8), *rng.normal(size=(5, 40))
    namespace["chunk"](arena, out, *leaves, 3)
    return [*arena, *out]


def loops(tree: ast.FunctionDef | None) -> list[int]:
    """How many times there are in each loop."""
    return [] if tree is None else [x.iter.args[0].value for x in nodes_of(tree) if isinstance(x, Repeated)]


SQUARES = {"write": lambda k: k * k + 3}
SAME = [
    (layers(6), [6]), (layers(6, **SQUARES), [6]), (layers(6, leaf=lambda k: 1), [6]),
    (layers(8, between=lambda k: f"s = s * 0.5 + leaf1[{k}]\n"), [8]),  # handed on under one name
    (layers(6).replace("    s = 1.0", "    s = 1.0\n    while s < 2.0:\n        s += 1.0"), [6]),
    (layers(9, factor=lambda k: "2.0" if k < 4 else "3.0"), [4, 5]),  # numbers that are given stay as they are
    (layers(5) + "\n" + layers(6, factor=lambda k: "3.0", between=lambda k: "out[1] = s\n").split("\n", 2)[2]
     .replace("v", "w"), [5, 6]),
    (layers(9, leaf=lambda k: 4 if k < 4 else k % 4), [4, 5]),  # arrays of another type are others
]  # fmt: skip


@pytest.mark.parametrize("code, times", SAME)
def test_each_time_does_what_it_did(code, times):
    tree = found(code)
    assert loops(tree) == times
    tree.body = written_out(tree.body)
    assert computed(tree) == computed(ast.parse(code).body[0])


@pytest.mark.parametrize("code", [
    layers(3),  # as few are
    layers(6, between=lambda k: f"out[2] = v{max(k - 1, 0)}_2\n"),  # what another time has computed is read
    layers(6) + "\n    out[3] = v2_2",
    layers(6, between=lambda k: "if s > 9.0:\n    break\n"),
    layers(6, factor=lambda k: f"{k}.5"),
    layers(6, between=lambda k: f"for i in range({k}):\n    out[i] = 1.0\n"),
    layers(6, between=lambda k: f"while s < {k}.0:\n    s += {k}\n"),
    layers(6, between=lambda k: f"u{k // 2} = s\n"),  # under names that are neither one nor its own
])  # fmt: skip
def test_what_does_not_quite_repeat_stays_as_it_is(code):
    assert not loops(found(code))


def test_what_repeats_in_a_loop_over_tiles_is_found():
    inner = textwrap.indent("\n".join(layers(6).splitlines()[2:-1]), "    ")
    code = f"{HEAD}    s = 1\n    while s < n:\n{inner}\n        s += 1"
    tree = found(code)
    assert loops(tree) == [6] and isinstance(tree.body[1], ast.While)
    tree.body = written_out(tree.body)
    assert computed(tree) == computed(ast.parse(code).body[0])


# --- numbers that vary -----------------------------------------------------------------------------------------------
def test_numbers_that_vary_are_added_and_multiplied_time_by_time():
    x, y = Varying((3, 5, 9), "time0"), Varying((1, 3, 7), "time0")
    assert x == 3 and x.step is None and Varying((3, 5, 7), "time0").step == 2
    for made, numbers in ((x + 1, (4, 6, 10)), (2 + x, (5, 7, 11)), (3 * x, (9, 15, 27)), (x * y, (3, 15, 63)),
                          (10 - x, (7, 5, 1)), (x - 1, (2, 4, 8))):
        assert made == numbers[0] and made.numbers == numbers
    assert type(x - y) is int and x - y == 2  # it is always the same
    assert repr(x) != repr(Varying((3, 5, 8), "time0"))


@pytest.mark.parametrize("read, write, alone", [((3, 5, 7), (4, 6, 8), True), ((3, 6, 7), (9, 5, 8), True),
                                                ((3, 5, 7), (4, 6, 7), False), ((3, 5, 7), (3, 5, 7), True),
                                                ((3, 5, 7), (3, 5, 8), False)])  # fmt: skip
def test_a_nest_is_a_function_if_its_runs_are_as_far_from_each_other_every_time(read, write, alone):
    """For its arguments say that they do not overlap."""
    (loop,) = ast.parse("for l in range(padded):\n    arena[2 * W + l] = arena[1 * W + l]").body
    for x in nodes_of(loop):
        if isinstance(x, ast.Constant):
            x.value = Varying({1: read, 2: write}[x.value], "time0")
    kinds = {"arena": "array", "padded": "value"}
    args = loop, reads_of(loop), kinds.get, known_where_read([loop])
    if not alone:
        with pytest.raises(NotAlone):
            Nest(*args)
        return
    runs = [at(first, k) for k in range(3) for first in Nest(*args).runs]
    assert runs == [x for k in range(3) for x in dict.fromkeys((write[k], read[k]))]


@pytest.mark.parametrize("code", ["f({0})", "np.int64({0})", "g(arena[{0}], {0} + 1)"])
def test_functions_that_numba_makes_for_numbers_are_given_these(code):
    tree = ast.parse(code.format(3))
    assert lowering.sound(tree, {})
    for x in ast.walk(tree):
        if isinstance(x, ast.Constant) and x.value == 3:
            x.value = Varying((3, 4), "time0")
    assert lowering.sound(tree, {}) is code.startswith("g")


# --- what is compiled ------------------------------------------------------------------------------------------------
def deep(**options):
    g = scg.Graph("deep")
    h = g.data("x", 2)
    for k in range(6):
        h = g.sample(f"h{k}", scg.Bernoulli(logits=scg.nn.dense(g, f"up{k}", h, 2)))
        g.cost(f"c{k}", ((h - 0.3) ** 2).sum())
    return scg.compile(g, **options)


def test_a_deep_net_is_what_the_reference_computes():
    f, g = deep(), deep(backend="numpy")
    tree = lowering.tree_of(vars(cache.read(f._kernel.module)), "chunk", {f"leaf{i}": KIND for i in range(13)})
    assert any(x.arrays for x in nodes_of(tree) if isinstance(x, Repeated))
    values = {name: np.random.default_rng(k).normal(size=np.shape(x)) for k, (name, x) in enumerate(f.init(0).items())}
    values["x"] = np.array([[0.4, 1.2], [-0.3, 0.7]])
    r, expected = (each(values, samples=150, rng=0) for each in (f, g))
    np.testing.assert_allclose(r.cost, expected.cost, rtol=1e-12)
    for name in r.grad:
        np.testing.assert_allclose(r.grad[name], expected.grad[name], rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(r.stderr[name], expected.stderr[name], rtol=1e-9, atol=1e-14)
