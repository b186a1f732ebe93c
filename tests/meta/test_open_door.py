"""Parts from outside the package that import nothing of it but `scg` and `scg.extend`, each under its law."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import scg
from scg.baselines import BASELINES
from scg.derive import derive
from scg.distributions import FAMILIES
from scg.estimators import ESTIMATORS
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.ir.node import make
from scg.ir.op import OPS, Op
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law
from tests.meta.test_extension import OUTSIDE, example

ROOT = Path(__file__).parents[2]
PAGES = sorted(p.name for p in (ROOT / "docs").glob("adding-*.md"))
REGISTRIES = (OPS, FAMILIES, BASELINES, ESTIMATORS)

PARTS = '''
from dataclasses import dataclass

import numpy as np

import scg
from scg.extend import (Baseline, Estimator, Objective, Piece, Site, Subtracted, Within, checked_index, choosing,
                        combining, make, moving)

moving("rolled", lambda node, index: ((index[0] - node.attrs[0]) % node.shape[0], *index[1:]),
       shape=lambda args, attrs: args[0].shape,
       derivative=lambda g, y, a: (make("rolled", (g,), (-y.attrs[0],)),))


def rolled(x, by):
    return make("rolled", (x,), (by,))


choosing("interleaved", lambda node, index, read: [
             Piece(0, (index[0] // 2, *index[1:]), (Within(index[0] % 2, 0, 1),)),
             Piece(1, (index[0] // 2, *index[1:]), (Within(index[0] % 2, 1, 2),))],
         shape=lambda args, attrs: (2 * args[0].shape[0], *args[0].shape[1:]),
         derivative=lambda g, y, a, b: (g[::2], g[1::2]))


def interleaved(a, b):
    return make("interleaved", (a, b))


choosing("of_each_row", lambda node, index, read: [Piece(0, (index[0], read(1, index)))], reads=(1,),
         shape=lambda args, attrs: args[1].shape,
         derivative=lambda g, y, a, k: (g[:, None] * (k[:, None] == np.arange(a.shape[1])), None))


def of_each_row(x, k):
    return make("of_each_row", (x, checked_index(k, x.shape[1], "The columns were indexed")))


def _of_the_smallest(g, y, a):
    hit = scg.where(a == y[:, None], 1.0, 0.0)
    return (hit * (g / hit.sum(axis=1))[:, None],)


combining("smallest", "minimum", np.inf, derivative=_of_the_smallest, bounds=lambda node, a: a,
          tied=lambda node: scg.where(node.args[0] == node[:, None], 1.0, 0.0).sum(axis=1) > 1.0)


def smallest(x):
    return make("smallest", (x,), (1,))


@dataclass(frozen=True, eq=False)
class Line(Baseline):
    """A line in a node, whose two numbers minimise the squared error."""

    node: object

    def value(self, site, signal):
        w = site.param("line", (2,), init=[0.1, -0.2])
        b = w[0] + w[1] * self.of_site(site, self.node)
        left = scg.stop_gradient(signal) - b
        return Subtracted(b, objectives=(Objective(f"{site.name} line", (left * left).sum()),))


@dataclass(frozen=True)
class Twice(Estimator):
    """One site: the score function, from a replay, less a number."""

    requires = ("log_prob",)
    reference = "the score function"

    def rewrite(self, site):
        q = scg.stop_gradient(site.replay(lambda dist, x: x) - 0.3)
        return site.draft.with_term(site.name, (site.score * q).sum())


@dataclass(frozen=True)
class Mirrored(Estimator):
    """Sites together: the score function averaged over two antithetic worlds."""

    scope = "together"
    requires = ("log_prob",)
    reference = "antithetic sampling"

    def rewrite(self, sites):
        draft = sites.draft
        for value in (lambda site, dist, x: x, Site.antithetic):
            for site in sites:
                q = scg.stop_gradient(0.5 * sites.replay(value, site))
                score = site.of(lambda dist, x, site=site, value=value: dist.log_prob(value(site, dist, x)))
                draft = draft.with_term(site.name, (site.per_signal(score) * q).sum())
        return draft


@dataclass(frozen=True)
class Forward(Estimator):
    """The whole graph: (F(θ + cΔ) − F(θ)) Δ / c with random signs Δ."""

    step: float = 0.01
    scope = "graph"
    unbiased = False
    reference = "Spall 1992"

    def objection(self, whole):
        return None

    def rewrite(self, whole):
        signs = {name: whole.signs(name, "sign") for name in whole.targets}
        slope = (whole.moved({name: self.step * d for name, d in signs.items()}) - whole.moved({})) / self.step
        return whole.with_gradients({name: slope * d for name, d in signs.items()})

    def reason(self, whole):
        return "a finite difference stands for the derivative"
'''


@pytest.fixture(scope="module")
def parts():
    """The parts, registered for as long as this module's tests run."""
    before = [dict(registry) for registry in REGISTRIES]
    module = ModuleType("scg_example_parts")
    sys.modules[module.__name__] = module
    exec(compile(PARTS, "parts.py", "exec"), module.__dict__)
    yield module
    for registry, entries in zip(REGISTRIES, before):
        registry.clear()
        registry.update(entries)
    sys.modules.pop(module.__name__)


def imported(code: str) -> set[str]:
    """The modules of the package that a text imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return {name for name in found if name.split(".")[0].startswith("scg")}


def test_authors_need_one_door():
    """The pages' examples, and the parts here, import `scg` and `scg.extend` only."""
    texts = {page: re.search(r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S)
             for page in PAGES}
    assert len(texts) >= 4 and all(texts.values())
    codes = {page: found[1] for page, found in texts.items() if found} | {"families": OUTSIDE, "parts": PARTS}
    for page, code in codes.items():
        assert imported(code) == {"scg", "scg.extend"}, page


# --- an op that moves elements ---------------------------------------------------------------------------------------
def wheel(parts, by: int):
    g = scg.Graph("wheel")
    w = g.param("w", (3, 2))
    b = g.sample("b", scg.Bernoulli(logits=w))
    x = parts.rolled(b * scg.exp(w), by)
    g.cost("loss", (x * np.arange(6.0).reshape(3, 2)).sum() + x[0, 1] * b[1, 1])
    return g, np.array([[0.3, -0.2], [0.1, 0.5], [-0.4, 0.2]])


@pytest.mark.parametrize("by", [1, -1])
def test_an_op_with_an_index_map(parts, by):
    """The same as written out by `concatenate`: values, gradients, on both backends and in the formula."""
    g, at = wheel(parts, by)
    same = ModuleType("same")
    same.rolled = lambda x, by: scg.concatenate([x[-by:], x[:-by]])
    h, _ = wheel(same, by)
    expected = integrate(h, {"w": at})
    found = integrate(g, {"w": at})
    assert found.cost == pytest.approx(expected.cost, rel=1e-12)
    np.testing.assert_allclose(found.grad["w"], expected.grad["w"], atol=1e-12)
    check_exact_law(g, {"w": at}, scg.LocalExpectation())
    if by == 1:
        r, s = (scg.compile(x, backend="numba", stderr=False)({"w": at}, samples=50, rng=1) for x in (g, h))
        np.testing.assert_allclose(r.grad["w"], s.grad["w"], rtol=1e-12)
    surrogate = g.surrogate(scg.ScoreFunction())
    formula = surrogate.sympy(expand=True)
    formula = f"{formula} {surrogate.where(formula)}"
    assert "rolled" not in formula and f"Mod(i + {-by % 3}, 3)" in formula


def shuffled(parts, rows: int):
    g = scg.Graph("shuffled")
    w, v = g.param("w", (rows, 2)), g.param("v", (rows, 2))
    k = g.sample("k", scg.Categorical(logits=w))
    x = parts.interleaved(scg.exp(v), v * w)
    picked = parts.of_each_row(x, scg.concatenate([k, 1.0 - k]))
    g.cost("loss", (picked * np.arange(1.0, 2.0 * rows + 1.0)).sum() + x[1, 0] * k[0])
    return g


def of_public_functions():
    """The same two ops, written out by functions of `scg`."""
    same = ModuleType("same")
    same.interleaved = lambda a, b: scg.stack([a, b], axis=1).reshape(-1, a.shape[1])
    same.of_each_row = lambda x, k: x[np.arange(len(x)), k]
    return same


@pytest.mark.by_python(rows=12)
@pytest.mark.parametrize("rows", [2, 12])
def test_ops_that_choose_among_arguments_and_by_one(parts, rows):
    """Element by element in formulas and short kernels, by running indices in long ones; of a draw as an index too."""
    rng = np.random.default_rng(0)
    at = {"w": rng.normal(size=(rows, 2)), "v": rng.normal(size=(rows, 2))}
    g, h = shuffled(parts, rows), shuffled(of_public_functions(), rows)
    strategy = scg.ScoreFunction(credit="steps")  # how the ops are made says what is told apart
    calls = [scg.compile(x, strategy=strategy, backend=backend, stderr=False)
             for x, backend in ((g, "numba"), (g, "numpy"), (h, "numpy"))]
    found = [f(at, samples=50, rng=1) for f in calls]
    for name in at:
        assert np.any(found[0].grad[name])
        for r in found[1:]:
            np.testing.assert_allclose(found[0].grad[name], r.grad[name], rtol=1e-9, atol=1e-12)
    assert found[0].cost == pytest.approx(found[2].cost, rel=1e-12)
    if rows == 2:
        expected, exact = integrate(h, at), integrate(g, at)
        assert exact.cost == pytest.approx(expected.cost, rel=1e-12)
        check_exact_law(g, at, strategy, exact=expected)


@pytest.mark.by_python
def test_such_ops_as_formulas_and_in_a_module(parts, tmp_path):
    g, h = (shuffled(x, 2) for x in (parts, of_public_functions()))
    s, t = (x.surrogate(scg.ScoreFunction(credit="steps")) for x in (g, h))
    rng = np.random.default_rng(2)
    draws = {s.symbols["k"][i]: int(rng.integers(2)) for i in range(2)}
    numbers = {s.symbols[name][i, j]: rng.normal() for name in "wv" for i in range(2) for j in range(2)}
    found, expected = (float(x.sympy(expand=True).doit().subs(draws).doit().subs(numbers)) for x in (s, t))
    assert found == pytest.approx(expected, rel=1e-12)
    assert "of" not in s.latex() and "leaved" not in s.latex(expand=True)
    f, path = scg.compile(g, strategy=scg.ScoreFunction(), stderr=False), tmp_path / "shuffled.py"
    f.export(path)
    kernel = f.source[f.source.index("def chunk("):].rstrip()
    assert len(kernel) > 2000 and kernel in path.read_text()


def test_an_index_that_the_record_does_not_name(parts):
    """Read as an index all the same, the derivative would miss it: the value is refused."""
    from scg.extend import Piece, choosing, make

    choosing("undeclared", lambda node, index, read: [Piece(0, (read(1, index),))],
             shape=lambda args, attrs: args[1].shape, derivative=lambda g, y, a, k: (None, None))
    g = scg.Graph("undeclared")
    g.cost("c", make("undeclared", (g.param("w", 3), g.data("k", 2))).sum())
    for backend in ("numpy", "numba"):
        with pytest.raises(scg.SCGError, match=r"read as an index.*reads=\(1,\)"):
            scg.compile(g, backend=backend)({"w": np.zeros(3), "k": np.zeros((1, 2))})


@pytest.mark.by_python(columns=30)
@pytest.mark.parametrize("columns", [3, 30])
def test_an_op_that_combines_elements(parts, columns):
    """Written out and in a loop, of what is drawn and of what is not, against NumPy's min."""
    rng = np.random.default_rng(3)
    v = rng.normal(size=(2, columns))
    found = {}
    for name, smallest in (("by the record", parts.smallest), ("of NumPy", lambda x: x.min(axis=1))):
        g = scg.Graph("smallest")
        w = g.param("w", (2, columns))
        x = g.sample("x", scg.Normal(loc=w, scale=1.0))
        g.cost("drawn", (smallest(x) * np.array([1.0, -2.0])).sum())
        g.cost("not", (smallest(w * w) * np.array([3.0, 0.5])).sum())
        for backend in ("numpy", "numba") if smallest is parts.smallest else ("numpy",):
            f = scg.compile(g, strategy=scg.Pathwise(), backend=backend, stderr=False)
            found[name, backend] = f({"w": v}, samples=40, rng=1)
    expected = found.pop(("of NumPy", "numpy"))
    assert expected.costs["not"] == pytest.approx(((v * v).min(axis=1) * [3.0, 0.5]).sum(), rel=1e-12)
    for label, r in found.items():
        assert r.cost == pytest.approx(expected.cost, rel=1e-12), label
        np.testing.assert_allclose(r.grad["w"], expected.grad["w"], rtol=1e-9, atol=1e-12, err_msg=str(label))
    if columns == 3:
        h = scg.Graph("smallest")
        h.cost("c", parts.smallest(h.param("w", (2, 3)))[0])
        assert str(h.surrogate().sympy(expand=True)) == "Min(w[0, 0], w[0, 1], w[0, 2])"


def test_an_op_that_a_backend_has_no_rule_for():
    """The reference has its value; a kernel, and a formula, are refused at the user's line, with what would work."""
    op = OPS.add("sorted", Op("sorted", "structural", shape=lambda args, attrs: args[0].shape,
                              value=lambda n, a: np.sort(a[0], axis=-1), derivative=lambda g, y, a: (None,)))
    try:
        g = scg.Graph("sorted")
        g.cost("c", make(op, (g.data("x", 3),))[0] + g.param("w"))
        r = scg.compile(g, backend="numpy")({"x": [[2.0, 0.5, 1.0]], "w": 0.0}, rng=0)
        assert r.cost == 0.5
        with pytest.raises(scg.SCGError, match=r'test_open_door.py:\d+.*compute sorted.*no rule.*backend="numpy"'):
            scg.compile(g, backend="numba")
        with pytest.raises(scg.SCGError, match=r"test_open_door.py:\d+.*sorted.*formula"):
            g.surrogate().sympy(expand=True)
    finally:
        OPS.pop("sorted")


# --- a baseline with an objective ------------------------------------------------------------------------------------
def lines(parts):
    g = scg.Graph("lines")
    theta, x = g.param("theta"), g.data("x")
    b = g.sample("b", scg.Bernoulli(logits=theta * x))
    g.cost("loss", (b - 0.45 * x) ** 2)
    return g, scg.ScoreFunction(parts.Line(x))


def test_a_baseline_with_an_objective(parts):
    """Unbiased, and its params fall to the weighted least squares line."""
    g, strategy = lines(parts)
    x = np.array([0.5, -1.0, 2.0])
    f = scg.compile(g, strategy=strategy, backend="numpy")
    values = {"theta": 0.7, "x": x, **f.init(0)}
    np.testing.assert_array_equal(values["b line"], [0.1, -0.2])
    assert f.verdict.unbiased
    r = f(values, samples=20_000, rng=1)
    exact = scg.exact(g, {"theta": 0.7, "x": x})
    assert abs(r.grad["theta"] - exact.grad["theta"]) < 5.0 * r.stderr["theta"]
    p = 1.0 / (1.0 + np.exp(-0.7 * x))
    mean = p * (1.0 - 0.45 * x) ** 2 + (1.0 - p) * (0.45 * x) ** 2
    left = mean - (0.1 - 0.2 * x)
    slope = [-2.0 * np.mean(left), -2.0 * np.mean(left * x)]
    assert np.all(np.abs(r.grad["b line"] - slope) < 5.0 * r.stderr["b line"])


def test_the_page_on_baselines():
    before = dict(BASELINES)
    try:
        page = example("adding-a-baseline.md")
        p = 1.0 / (1.0 + np.exp(-0.3))
        assert abs(page.values["b level"] - (p * 0.55**2 + (1.0 - p) * 0.45**2)) < 0.02
        assert page.f.verdict.unbiased
    finally:
        BASELINES.clear()
        BASELINES.update(before)
        sys.modules.pop("scg_example_adding_a_baseline_md", None)


# --- an estimator of each scope --------------------------------------------------------------------------------------
def pair() -> scg.Graph:
    g = scg.Graph("pair")
    w = g.param("w", 3)
    a = g.sample("a", scg.Bernoulli(logits=w[0]), shape=2)
    b = g.sample("b", scg.Bernoulli(logits=w[1] - 0.3))
    c = g.sample("c", scg.Bernoulli(logits=w[2] * a.sum() - b))
    g.cost("all", (a.sum() * b - 0.45 + c) ** 2)
    return g


AT = {"w": [0.4, -0.7, 0.9]}


@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_estimators_of_one_site_and_of_several(parts, by):
    exact = integrate(pair(), AT)
    check_exact_law(pair(), AT, parts.Twice(), exact=exact, by=by)
    check_exact_law(pair(), AT, {("a", "b"): parts.Mirrored(), "c": parts.Twice()}, exact=exact, by=by)


def test_an_estimator_of_the_whole_graph(parts):
    """Exact where the mean cost is linear in each direction: E F(θ + cΔ) = F(θ) + cΔ·F′."""
    g = scg.Graph("linear")
    w = g.param("w", 2)
    b = g.sample("b", scg.Bernoulli(probs=0.3))
    g.cost("loss", b * w[0] + 2.0 * w[1])
    d = derive(g, parts.Forward(0.5))
    np.testing.assert_allclose(expected_gradient(d, {"w": [0.2, 0.4]}).grad["w"], [0.3, 2.0], atol=TOLERANCE)
    assert d.verdicts["b"].status == "biased"
    r = scg.compile(g, strategy=parts.Forward(), backend="numba", stderr=False)({"w": [0.2, 0.4]}, samples=4000, rng=1)
    assert np.all(np.abs(r.grad["w"] - [0.3, 2.0]) < 0.2)
