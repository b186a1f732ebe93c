"""How long kernels are compiled: in one walk, nests that are alike once, and by Numba what is not known there."""

from __future__ import annotations

import ast
import linecache
import re
import textwrap

import numpy as np
import pytest
from numba import njit
from numba.core.base import BaseContext
from scg_numba import cache, lowering
from scg_numba.outlined import Nest, NotAlone, reads_of

import scg

pytestmark = pytest.mark.optimised


def statements(code: str) -> list[ast.stmt]:
    return ast.parse(textwrap.dedent(code)).body


# --- variables --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code, kept", [
    ("x = 1\ny = x", ""),
    ("x = 1\nx = x + 1\ny = x", ""),
    ("for i in range(n):\n    x = i\n    y = x", ""),
    ("if c:\n    x = 1\n    y = x\nelse:\n    x = 2\n    y = x", ""),
    ("if c:\n    x = 1\nelse:\n    x = 2\ny = x", "x"),
    ("x = 0\nfor i in range(n):\n    x = f(x, i)\ny = x", "x"),
    ("x = 0\nfor i in range(n):\n    y = x\n    x = i", "x"),
    ("for i in range(n):\n    y = x\n    x = i", "x"),
    ("x = 0\nwhile x < n:\n    x = f(x)", "x"),
    ("x = 0\nfor i in range(n):\n    for j in range(n):\n        y = x\n    x = 1", "x"),
    ("x = 0\nfor i in range(n):\n    x += i", "x"),
    ("for i in range(n):\n    x = i\ny = x", "x"),
])  # fmt: skip
def test_what_changes_has_a_place(code, kept):
    body = statements(code)
    given = {x.id for s in body for x in ast.walk(s) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    assert {name for name in given if name in "xy"} - lowering.known_where_read(body) == set(kept)


# --- nests that are alike ---------------------------------------------------------------------------------------------
def nest(code: str, reads=None, kind=None, elements=None) -> Nest:
    (loop,) = statements(code)
    kinds = {"arena": "array", "leaf0": "array", "weights": "array", "row_of": "array", "numbers": "array",
             "near1": "place", "lanes": "value", "padded": "value", "rows": "value", "W": None} | (kind or {})
    return Nest(loop, reads or reads_of(loop), kinds.get, lowering.known_where_read([loop]), elements)


def same(one: Nest, other: Nest) -> bool:
    """Whether two nests are one function; keys say what bodies do."""
    equal = ast.dump(one.body) == ast.dump(other.body)
    assert (one.key == other.key) is equal
    return equal


def test_names_runs_and_given_numbers_do_not_tell_nests_apart():
    one = nest("for l in range(padded):\n    v1 = arena[3 * W + l]\n    arena[7 * W + l] = v1 * v9",
               kind={"v9": "value"})
    other = nest("for l in range(padded):\n    v5 = arena[2 * W + l]\n    arena[1 * W + l] = v5 * real0",
                 kind={"real0": "value"})
    assert same(one, other)
    assert [*one.runs] == [3, 7] and [*other.runs] == [2, 1]
    assert [text for text, _ in other.values] == ["padded", "real0"]
    in_place = nest("for l in range(padded):\n    v5 = arena[2 * W + l]\n    arena[2 * W + l] = v5 * real0",
                    kind={"real0": "value"})
    assert not same(in_place, one) and [*in_place.runs] == [2]


def test_runs_that_overlap_are_one():
    """For what points at them says that they do not."""
    found = nest("for l in range(lanes):\n    for i in range(3):\n        arena[4 * W + (i * W + l)] = arena[6 * W + l]"
                 " + arena[7 * W + l]")
    ast.fix_missing_locations(found.body)
    assert [*found.runs] == [4, 7] and "b0[(2 - 0) * W" not in ast.unparse(found.body)
    assert "b0[2 * W" in ast.unparse(found.body) and "b0[(0 + x" in ast.unparse(found.body)


@pytest.mark.parametrize("one, other", [
    ("arena[4 * W + row_of[l]] * arena[3 * W + l]", "arena[6 * W + row_of[l]] * arena[5 * W + l]"),
    ("leaf0[row_of[l] * 10 + 3]", "leaf0[row_of[l] * 10 + 4]"),
    ("leaf0[3]", "leaf0[4]"),
    ("f(arena[3 * W : 3 * W + lanes])", "f(arena[4 * W : 4 * W + lanes])"),
    ("f(2 + l)", "f(3 + l)"),
])  # fmt: skip
def test_nor_do_places_of_rows_and_constants_that_are_added(one, other):
    """What an index has besides, as the stride of a row, tells them apart."""
    found = [nest(f"for l in range(padded):\n    arena[9 * W + l] = {x}") for x in (one, other, one + " + 1")]
    assert same(found[0], found[1]) and not same(found[0], found[2])
    strides = [nest(f"for l in range(lanes):\n    leaf0[{n} * l] = {f}(l)") for n, f in ((3, "g"), (4, "g"), (3, "h"))]
    assert not same(strides[0], strides[1]) and not same(strides[0], strides[2])


def test_nor_how_often_a_procedure_is_called():
    code = """
        for i in range({0}):
            for part in range(rows):
                f(arena[({1} + i) * W + part : ({1} + i) * W + part + lanes], {2} + i, numbers)
    """
    one, other = nest(code.format(1, 4, 0)), nest(code.format(7, 30, 9))
    assert same(one, other)
    assert [*other.runs] == [30] and [text for text, _ in other.values] == ["7", "rows", "lanes", "9"]
    assert "b0[(0 + x0) * W" in ast.unparse(ast.fix_missing_locations(one.body))


def test_an_index_that_was_computed_is_in_a_run_of_known_length():
    code = """
        for l in range(padded):
            x = arena[3 * W + l]
            inside = (x >= 0) & (x < 5)
            k = np.int64(x) if inside else 0
            arena[9 * W + l] = arena[4 * W + (k * W + row_of[l])] + arena[8 * W + l]
    """
    assert sorted(nest(code).runs) == [3, 4, 9]
    for one, other in (("(x >= 0) &", "(x >= -1) &"), ("if inside", "if other"), ("(x < 5)", "(x < n)"),
                       ("else 0", "else 7"), ("k = np", "inside = True; k = np")):
        with pytest.raises(NotAlone):
            nest(code.replace(one, other), kind={"other": "value", "n": "value"})


@pytest.mark.parametrize("code", [
    "for l in range(n):\n    arena[1 * W + l] = 0.0",  # nobody knows how far it counts
    "for l in range(padded):\n    arena[k * W + l] = 0.0",
    "for l in range(padded):\n    f(arena[1 * W : 2 * W])",
    "for l in range(padded):\n    f(arena[1 * W : 2 * W + l])",
    "for l in range(padded):\n    arena[1 * W + l] = f(arena)",  # which may be anything of it
    "for l in range(padded):\n    arena[1 * W + l + 1] = 0.0",
    "for l in range(padded):\n    arena[1 * W] = 0.0",
    "for i in range(3):\n    arena[1 * W + i] = 0.0",
    "for l in range(padded):\n    break",
])  # fmt: skip
def test_other_nests_stay_where_they_are(code):
    (loop,) = statements(code)
    before = ast.dump(loop)
    with pytest.raises(NotAlone):
        Nest(loop, reads_of(loop), {"arena": "array", "padded": "value", "lanes": "value", "leaf0": "array"}.get, set())
    assert ast.dump(loop) == before


@pytest.mark.parametrize("numbers, together", [
    (range(8), True), (range(3, 11), True), ([*range(7)], False), ([*range(7), 8], False)])  # fmt: skip
def test_many_elements_side_by_side_are_one_argument(numbers, together):
    """Nests are alike whatever array they stand in, and wherever they begin; not if their order is another."""
    def found(array, first, order=1):
        names = [f"v{array}_{k}" for k in numbers]
        of = {name: (f"leaf{array}", first + k) for name, k in zip(names, numbers)}
        reads = " + ".join(names[::order])
        return nest(f"for l in range(padded):\n    arena[1 * W + l] = ({reads}) * y",
                    kind={**dict.fromkeys(of, "value"), "y": "value"}, elements=of)

    one, other, turned = found(0, 0), found(1, 40), found(0, 0, -1)
    assert same(one, other) and same(one, turned) is not together
    assert one.parts == ({"leaf0": (min(numbers), "c0")} if together else {})
    assert other.parts == ({"leaf1": (40 + min(numbers), "c0")} if together else {})
    assert [*other.loaded.values()] == ([("c0", k) for k in range(8)] if together else [])
    assert len(other.values) == 2 + (0 if together else len(numbers))


def test_what_a_nest_leaves_behind_has_a_place():
    loop = "for l in range(padded):\n    near1 += arena[1 * W + l] > 0\n    arena[1 * W + l] = 0.0"
    reads = reads_of(ast.parse(loop + "\nif near1 > 0: pass"))
    assert nest(loop, reads).places == {"near1": "s0"}
    with pytest.raises(NotAlone):
        nest(loop, reads, {"near1": "value"})


def _functions(steps: int) -> int:
    """How many functions the nests of a chain become."""
    g = scg.Graph("chain")
    w, v = g.param("w"), g.param("v")
    b = g.sample("b0", scg.Bernoulli(logits=w))
    for t in range(1, steps):
        b = g.sample(f"b{t}", scg.Bernoulli(logits=w + v * b))
        g.cost(f"c{t}", (b - 0.1 * t) ** 2)
    kernel = scg.compile(g, strategy=scg.LocalExpectation())._kernel
    tree = ast.parse(kernel.text.code()).body[-1]
    kinds = {arg.arg: "array" for arg in tree.args.args} | {"W": None}
    reads, direct, found = reads_of(tree), lowering.known_where_read(tree.body), []
    for loop in ast.walk(tree):
        if isinstance(loop, ast.For):
            try:
                found.append(Nest(loop, reads, lambda n: kinds.get(n, "place" if n[:4] == "near" else "value"), direct))
            except NotAlone:
                continue
    assert len({one.key for one in found}) == len({ast.dump(one.body) for one in found})
    return len({one.key for one in found})


def test_what_is_compiled_of_a_chain_does_not_grow_with_its_replays():
    """The number of those is quadratic in the length: 6 and 15."""
    four, six = _functions(4), _functions(6)
    assert 4 <= four <= six <= four + 2 * 2


# --- what is computed -------------------------------------------------------------------------------------------------
def of_all_kinds(**options):
    g = scg.Graph("kinds")
    w, s, x = g.param("w", 8), g.param("s"), g.data("x")
    k = g.sample("k", scg.Categorical(logits=w * x))
    b = g.sample("b", scg.Bernoulli(logits=w[k] - 0.3), shape=20)
    g.cost("c", np.where(x > 1.1, x - 0.7, b.sum() * 0.01 * np.exp(-abs(s))) ** 2 + np.maximum(x, 0.3 * b[2]))
    return scg.compile(g, **options)


def test_it_is_what_the_reference_computes():
    """One nest has the elements of a parameter together, others have them one by one, and some are read in none."""
    f, at = of_all_kinds(), {"w": [0.1, 0.5, -0.2, 0.3, 0.9, -1.0, 0.7, 0.2], "s": -0.3, "x": [0.4, 1.2, -0.3]}
    assert lowering.tree_of(vars(cache.read(f._kernel.module)), "chunk") is not None
    r, expected = (g(at, samples=200, rng=0) for g in (f, of_all_kinds(backend="numpy")))
    np.testing.assert_allclose(r.cost, expected.cost, rtol=1e-12)
    for name in at.keys() - "x":
        np.testing.assert_allclose(r.grad[name], expected.grad[name], rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(r.stderr[name], expected.stderr[name], rtol=1e-10, atol=1e-15)


@njit
def ranked(x):
    y = np.zeros(3)
    y[:] = x
    return np.sort(y)


def test_functions_of_the_users_have_memory():
    """They are compiled as what calls them; and kernels that call none need no memory of Numba's."""
    g = scg.Graph("ranked")
    z = g.sample("z", scg.Normal(g.param("t", 3), 1.0), estimator=scg.ScoreFunction())
    g.cost("c", (g.call(ranked, z, shape=3) * np.arange(3.0)).sum())
    f, h = (scg.compile(g, backend=name) for name in ("numba", "numpy"))
    r, expected = (each({"t": [0.3, -1.0, 0.5]}, samples=20, rng=0) for each in (f, h))
    np.testing.assert_allclose([r.cost, *r.grad["t"]], [expected.cost, *expected.grad["t"]], rtol=1e-10)


@pytest.mark.parametrize("value", ["0 < x < 1", "x ** 3", "x @ x", "~x", "f(x, n=1)", "len(x)", "[x]", "x[y := 1]",
                                   "np.linalg.norm(x)", "x is None"])
def test_what_is_not_known_is_left_to_numba(value):
    (tree,) = statements(f"def chunk(x):\n    y = {value}")
    assert not lowering.understood(tree, {"f": None, "np": np})
    (tree,) = statements("def chunk(x):\n    y = f(x) ** 2.0 if x > 0 else np.floor(x) % 3")
    assert lowering.understood(tree, {"f": None, "np": np})


def test_numba_compiles_it_then(monkeypatch, tmp_path):
    g, asked = scg.Graph("by Numba"), []
    g.cost("c", g.param("t") ** 2)
    monkeypatch.setattr(lowering, "understood", lambda tree, namespace: asked.append(tree.name))
    monkeypatch.setenv("SCG_CACHE_DIR", str(tmp_path))
    r = scg.compile(g, stderr=False)({"t": 1.5})
    assert asked == ["chunk"] and (r.cost, r.grad["t"]) == (2.25, 3.0)


def written(body: str, arrays: int = 1):
    """A kernel of that body, which is given arrays and a number of lanes; compiled."""
    given = ", ".join(["arena", *(f"leaf{i}" for i in range(1, arrays))])
    text = f"@lowered()\ndef chunk({given}, lanes):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    namespace, name = {"lowered": lowering.lowered, "__name__": "written"}, "<written>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"), namespace)
    del linecache.cache[name]
    namespace["chunk"](*[np.zeros(800)] * arrays, 64)
    return namespace["chunk"]


def vectors_of(body: str) -> int:
    """How many loops over lanes are written down with vectors."""
    (code,) = written(body).inspect_llvm().values()
    return len(re.findall(r"^vector\.body[\w.]*:", code, re.MULTILINE))


def test_registries_are_not_read_for_every_argument(monkeypatch):
    """Numba asks what makes an array of each; there is nothing, and it need not look everywhere for it."""
    read, refresh = [], BaseContext.refresh
    monkeypatch.setattr(BaseContext, "refresh", lambda context: read.append(context) or refresh(context))
    times = []
    for arrays in (1, 2, 12):  # a first kernel has them read by what it is the first to need
        read.clear()
        written("for l in range(lanes):\n    arena[l] = 1.0", arrays)
        times.append(len(read))
    assert times[1] == times[2] > 0


def test_loops_around_lanes_are_not_written_out():
    """Lanes are most of the time that they take, and code of each of nine turns takes nine times as long to make."""
    few, many = (vectors_of(f"""
        for i in range({turns}):
            for l in range(lanes):
                arena[i * 64 + l] += 2.0 * arena[640 + l]
        """) for turns in (3, 9))
    assert few == many > 0


def test_a_text_that_is_nowhere_is_left_to_numba():
    namespace = {"lowered": lowering.lowered, "__name__": "nowhere"}
    exec("@lowered()\ndef chunk(x):\n    return x + 1\n", namespace)
    assert namespace["chunk"](2) == 3
