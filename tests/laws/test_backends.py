"""Backends against each other and against the exact law; the same bits on any number of workers and after export.

- *record and feed*: a compiled kernel records its sites; the reference, fed these, must agree in every replicate's cost
  and gradient contribution, and each recorded discrete value must be what its uniform and probability say, within 16
  ulp.
- *exact law*: kernels under fed noise, weighted, give the exact gradient.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scg_numpy import Evaluation, evaluate

import scg
from scg.analysis.adjoints import gradients
from scg.analysis.reach import total
from scg.derivation import derive
from scg.exact import integrate
from scg.expectation import expected_by_kernel, expected_gradient
from scg.ir.node import constant
from scg.ir.traverse import substitute
from scg.noise import key
from scg.ops.leaves import feed
from scg.ops.measure import expect
from scg.ops.randomness import sample_op
from scg.program import divide
from tests.problems import PROBLEMS, finite_problems, scan_values, scanned, unrolled
from tests.refused import refusal
from tests.strategies import STRATEGIES

SAMPLES = 150
BROAD = ("two_layer_net", "shared_weights", "categorical_table")  # where every strategy is compiled
# kernels of which two thirds are standard errors: without them here, but for --full (scan_4_steps and rows have them)
ESTIMATES_ONLY = ("scan_masked", "scan_3_steps", "unrolled_2_steps", "truths_in_scan", "scan_along_data",
                  "per_row_site", "shared_path_in_scan")


def _cases(names, request_full):
    for name in names:
        for label, strategy in STRATEGIES.items():
            if refusal(name, strategy):
                continue
            if request_full or label == "policy" or name in BROAD or (name, label) == ("scan_4_steps", "score"):
                yield pytest.param(name, label, id=f"{name}-{label}")


def pytest_generate_tests(metafunc):
    """By default every problem under the policy and some under every strategy; with --full all that is not refused."""
    if {"name", "label"} <= set(metafunc.fixturenames):
        names = finite_problems() if "exact_law" in metafunc.function.__name__ else PROBLEMS
        metafunc.parametrize("name, label", list(_cases(names, metafunc.config.getoption("--full"))))


def _derived(name, label):
    p = PROBLEMS[name]()
    return p, derive(p.graph, STRATEGIES[label])


# --- the exact law on compiled kernels -------------------------------------------------------------------------------
def test_kernels_satisfy_the_exact_law(name, label):
    p, derivation = _derived(name, label)
    exact = integrate(p.graph, p.values)
    found = expected_by_kernel(derivation, p.values)
    assert found.cost == pytest.approx(exact.cost, abs=1e-10)
    for parameter, gradient in exact.grad.items():
        np.testing.assert_allclose(found.grad[parameter], gradient, atol=1e-10)


def test_a_wrong_kernel_is_caught(monkeypatch):
    """Planted: the kernel's comparison of u and p is turned round."""
    from scg_numba import text

    begun = text.Text.__init__

    def planted(self, body, *rest):
        begun(self, body.replace(" < ", " > ", 1) if "record" in body else body, *rest)

    monkeypatch.setattr(text.Text, "__init__", planted)
    p, derivation = _derived("bernoulli_toy", "score")
    exact, found = integrate(p.graph, p.values), expected_by_kernel(derivation, p.values)
    assert any(np.max(np.abs(found.grad[n] - exact.grad[n])) > 1e-3 for n in exact.grad)


# --- record and feed -------------------------------------------------------------------------------------------------
def _recorded(f, values):
    """A call that records every site's value, (rows, samples, *shape)."""
    return f(values, samples=SAMPLES, rng=7, record=tuple(f._derivation.draft.values))


def test_record_and_feed(name, label, request):
    p, derivation = _derived(name, label)
    stderr = name not in ESTIMATES_ONLY or request.config.getoption("--full")
    a = _recorded(scg.compile(p.graph, strategy=STRATEGIES[label], stderr=stderr), p.values)
    reference = scg.compile(p.graph, strategy=STRATEGIES[label], backend="numpy")
    drawn = _recorded(reference, p.values).record
    for site, values in a.record.items():
        if p.graph.sites[site].family.support.integral:
            _check_discrete(site, values, drawn[site])
        else:
            np.testing.assert_allclose(values, drawn[site], rtol=1e-11, atol=1e-300)
    b = _fed(derivation, reference, p.values, a.record)
    np.testing.assert_allclose(a.cost, b["cost"], rtol=1e-10, atol=1e-13)
    for parameter, gradient in a.grad.items():
        np.testing.assert_allclose(gradient, b[parameter], rtol=1e-9, atol=1e-12)


def _check_discrete(site, recorded, drawn):
    """Values may differ where u is within 16 ulp of a probability: 16 · 2⁻⁵³ of all draws, so here nowhere."""
    assert (recorded == drawn).all(), f"{(recorded != drawn).sum()} values of {site} differ between the backends"


def _fed(derivation, reference, values, recorded):
    """Cost and gradients by the reference backend, with the sites' values fed wherever they are drawn as they stand."""
    mapping, fed = {}, {}
    for site, node in derivation.draft.values.items():
        if node.op is sample_op:
            leaf = feed(f"fed {site}", node.shape, node.axes)
            mapping[node] = leaf
            array = recorded[site]
            fed[leaf.attrs.name] = array if any(ax.name == "row" for ax in node.axes) else array[0]
    params = list(derivation.graph.params.values())
    found = gradients({total(derivation.roots()): constant(1.0)}, params)
    found = [constant(np.zeros(x.shape)) if g is None else g for x, g in zip(params, found)]
    roots = substitute([expect(total(list(derivation.draft.costs.values()))), *found], mapping)
    layout = reference._layout
    rows = next((len(np.asarray(values[n])) for n in derivation.graph.rows), 1)
    division = divide(layout, rows, SAMPLES)
    starts = np.arange(division.groups) * SAMPLES // division.groups
    states = {s.name: np.full(s.leaf.shape, s.initial) for s in derivation.draft.states}
    evaluation = Evaluation({n: np.asarray(v, float) for n, v in values.items()},
                            {"row": rows, "lane": SAMPLES}, fed=fed, states=states,
                            keys={path: key(7, path) for path in layout.paths},
                            groups=lambda size: (starts, np.diff(np.append(starts, SAMPLES))))
    cost, *grads = evaluate(roots, evaluation)
    return {"cost": cost, **{x.attrs.name: g for x, g in zip(params, grads)}}


# --- the same bits everywhere ----------------------------------------------------------------------------------------
def _same_bits(a, b):
    assert a.cost == b.cost
    np.testing.assert_array_equal(a.cost_stderr, b.cost_stderr)
    for parameter in a.grad:
        np.testing.assert_array_equal(a.grad[parameter], b.grad[parameter])
        np.testing.assert_array_equal(a.stderr[parameter], b.stderr[parameter])


@pytest.mark.parametrize("name", ["bernoulli_toy", "rows", "shared_weights", "two_layer_net", "scan_4_steps",
                                  "gamma_square", "normal_rows"])
def test_any_number_of_workers_gives_the_same_bits(name):
    p = PROBLEMS[name]()
    f = scg.compile(p.graph)
    samples = 3 * f._layout.chunk_lanes + 17
    rows = next((len(np.asarray(p.values[name])) for name in p.graph.rows), 1)
    division, _ = f._calls.division(rows, samples)
    assert len(division.chunks) > 2
    results = []
    for workers in (1, 2, 7):
        with ThreadPoolExecutor(workers) as pool:
            results.append(f(p.values, samples=samples, rng=5, executor=pool))
    _same_bits(results[0], results[1])
    _same_bits(results[0], results[2])
    _same_bits(results[0], f(p.values, samples=samples, rng=5))


def test_draws_do_not_depend_on_the_division():
    """Chunks of another size draw the same words: the reference in one piece, the kernel in many."""
    p = PROBLEMS["bernoulli_toy"]()
    f = scg.compile(p.graph, strategy=scg.ScoreFunction())
    whole = f(p.values, samples=300_000, rng=9, record=("b",)).record["b"]
    part = f(p.values, samples=1000, rng=9, record=("b",)).record["b"]
    np.testing.assert_array_equal(whole[:, :1000], part)


@pytest.mark.parametrize("name", ["bernoulli_toy", "rows", "shared_weights", "gamma_square", "scan_4_steps"])
def test_the_exported_module_gives_the_same_bits(name, tmp_path):
    p = PROBLEMS[name]()
    f = scg.compile(p.graph)
    path = tmp_path / f"exported_{name}.py"
    f.export(path)
    if name == "bernoulli_toy":  # as a program; the others check themselves as modules, which are compiled once then
        run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False,
                             env={"PATH": "", "HOME": str(tmp_path)})
        assert run.stdout == "self-check passed\n", run.stderr
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert path.stem not in sys.modules  # a module that nobody can import again, as plug-ins are loaded, will do
    module.self_check()
    samples = 2 * f._layout.chunk_lanes + 100
    _same_bits(f(p.values, samples=samples, rng=3), module.estimate(p.values, samples=samples, rng=3))


def test_any_name_can_be_exported(tmp_path):
    g = scg.Graph("it's \"quoted\"")
    b = g.sample('b"""\\N', scg.Bernoulli(logits=g.param("th'e\\x\"\"\"ta")))
    g.cost("{lo\\U}ss", g.node('"""', (b - 0.45) ** 2))
    f, values = scg.compile(g), {"th'e\\x\"\"\"ta": 0.3}
    f.export(tmp_path / "named.py")
    spec = importlib.util.spec_from_file_location("named", tmp_path / "named.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _same_bits(f(values, samples=100, rng=3), module.estimate(values, samples=100, rng=3))
    assert 'site "b"""\\N": ScoreFunction' in module.__doc__ and repr(next(iter(values))) in module.estimate.__doc__


def test_what_adds_numbers_is_inlined():
    """Else the bits would depend on which of two compiled copies of a function a process happens to link."""
    from scg_numba import runtime

    # these count, compare, copy, or add element to element, in one order whoever compiles them
    whole_numbers = {"fill", "copy", "first_group", "tile_end", "group_edges", "add_partial_sums", "narrow",
                     "index_among"}
    functions = {name: f for name, f in vars(runtime).items() if hasattr(f, "targetoptions")}
    assert whole_numbers < set(functions)
    for name in set(functions) - whole_numbers:
        options = functions[name].targetoptions
        assert options.get("forceinline") or options.get("inline") == "always", name


@pytest.mark.parametrize("name", ["two_layer_net", "shared_weights", "normal_cosine", "gamma_square", "scan_4_steps"])
def test_float32_agrees_with_float64(name):
    """Sites differ where the coarser uniforms fall on the other side; means agree within their standard errors."""
    p = PROBLEMS[name]()
    a = scg.compile(p.graph)(p.values, samples=100_000, rng=5)
    b = scg.compile(p.graph, dtype="float32")(p.values, samples=100_000, rng=6)
    for parameter in a.grad:
        assert b.grad[parameter].dtype == np.float32
        error = np.hypot(a.stderr[parameter], b.stderr[parameter])
        assert np.all(np.abs(a.grad[parameter] - b.grad[parameter]) < 5 * error + 1e-5)




# --- scans and unrolled loops ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_scan_and_its_unrolled_graph_draw_the_same_words(backend):
    """Site "h" at step 2 of a scan and site "h[2]" are the same random numbers, and the estimates agree."""
    values, steps = scan_values(), 3
    strategy = scg.ScoreFunction(baseline=scg.LeaveOneOut())
    loop = scg.compile(scanned(steps), strategy=strategy, backend=backend, stderr=False)
    flat = scg.compile(unrolled(steps), strategy=strategy, backend=backend, stderr=False)
    names = [f"h[{t}]" for t in range(steps)]
    a = loop(values, samples=96, rng=11, record=("h",))
    b = flat(values, samples=96, rng=11, record=names)
    for t, name in enumerate(names):
        np.testing.assert_array_equal(a.record["h"][:, :, t], b.record[name])
    assert a.cost == pytest.approx(b.cost, rel=1e-12)
    for parameter, gradient in a.grad.items():
        np.testing.assert_allclose(gradient, b.grad[parameter], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["scan_3_steps", "scan_4_steps"])
def test_a_scan_equals_enumeration(name):
    """Two Bernoulli units with a pathwise carry and costs before and after the site (one unit for the longer loop)."""
    p = PROBLEMS[name]()
    exact = integrate(p.graph, p.values)
    for strategy in (scg.ScoreFunction(), scg.ScoreFunction(baseline=scg.LeaveOneOut()), scg.WeakDerivative()):
        found = expected_gradient(derive(p.graph, strategy), p.values)
        for parameter, gradient in exact.grad.items():
            np.testing.assert_allclose(found.grad[parameter], gradient, atol=1e-10)


def test_a_scan_of_two_units_over_four_steps_equals_enumeration():
    graph, values = scanned(4), scan_values()
    exact = integrate(graph, values)
    found = expected_gradient(derive(graph, scg.ScoreFunction()), values)
    compiled = expected_by_kernel(derive(graph, scg.ScoreFunction()), values)
    for parameter, gradient in exact.grad.items():
        np.testing.assert_allclose(found.grad[parameter], gradient, atol=1e-10)
        np.testing.assert_allclose(compiled.grad[parameter], gradient, atol=1e-10)
