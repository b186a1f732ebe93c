"""Backends against each other and against the exact law; the same bits on any number of workers and after export.

Of the problems' kernels, under the policy and under half of the strategies, a third is run by Python, as its text
stands, and those that witness all there is in kernels are compiled, all of them (`tests/laws/checks/witnesses.py`);
with ``--full`` every kernel is run by Python and compiled. Which part it is a digest says: a problem always has the
same one.

- *record and feed*: a kernel records its sites; the reference, fed these, must agree in every replicate's cost
  and gradient contribution, and each recorded discrete value must be what its uniform and probability say, within 16
  ulp.
- *exact law*: kernels under fed noise, weighted, give the exact gradient.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scg_numpy import Evaluation, evaluate

import scg
from scg.analysis.reach import sum_of
from scg.derive import derive
from scg.differentiate.reverse_mode import gradients
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.ir.node import constant
from scg.ir.traverse import substitute
from scg.noise import key
from scg.ops.leaves import feed
from scg.ops.measure import expect
from scg.ops.randomness import sample_op
from scg.program import divide
from tests.laws.checks.exported import compare_functions
from tests.laws.checks.plain_kernels import run_by_python
from tests.laws.checks.witnesses import FORMS, Witness, kinds, table, text_of, write_table
from tests.problems import PROBLEMS, finite_problems, scan_values, scanned, unrolled
from tests.refused import refusal
from tests.strategies import STRATEGIES

pytestmark = pytest.mark.optimised
SAMPLES = 150
BY_PYTHON = {"policy": 70}  # samples of kernels that Python runs: two blocks of lanes, and for other strategies one

LAWS = {"test_record_and_feed": ("errors", "means"), "test_kernels_satisfy_the_exact_law": ("fed",)}


def _cases(forms, everything):
    """Kernels that Python runs, and those in the table of witnesses compiled (with --full all of them)."""
    names = finite_problems() if forms == ("fed",) else PROBLEMS
    for name in names:
        for label, strategy in STRATEGIES.items():
            if refusal(name, strategy):
                continue
            chosen = [form for form in forms if Witness(name, label, form) in table()]
            if everything or label == "policy" or zlib.crc32(f"{name} {label}".encode()) % 2:
                yield pytest.param(name, label, forms[0], True, id=f"{name}-{label}-python",
                                   marks=pytest.mark.one_in(3))
            for form in [forms[0], *chosen] if everything and forms[0] not in chosen else chosen:
                yield pytest.param(name, label, form, False, id=f"{name}-{label}-{form}")


def pytest_generate_tests(metafunc):
    forms = LAWS.get(metafunc.function.__name__)
    if forms:
        metafunc.parametrize("name, label, form, by_python", list(_cases(forms, metafunc.config.getoption("--full"))))


def test_the_table_of_witnesses_is_known(request):
    """With --update-golden what is compiled is chosen anew, before the laws ask whether it witnesses all there is."""
    if request.config.getoption("--update-golden"):
        write_table()
    assert {w.form for w in table()} <= set(FORMS)
    for name in PROBLEMS:
        assert any(w.problem == name for w in table()), f"compile {name} under some strategy"
    for label in STRATEGIES:
        assert len({w.problem for w in table() if w.strategy == label}) >= 3, f"compile three problems under {label}"


@contextlib.contextmanager
def _run(derivation, name, label, form, by_python):
    """Where the kernel of that form is run; what it is made of is compiled somewhere."""
    if by_python:
        with run_by_python() as texts:
            yield
        (text,) = texts
        new = kinds(text) - frozenset().union(*table().values())
        assert not new, f"No compiled kernel has {new}: run {UPDATE} to choose one that has."
        return
    lost = table().get(Witness(name, label, form), frozenset()) - kinds(text_of(derivation, form))
    assert not lost, f"The kernel has no {lost}, for which it is compiled: run {UPDATE} to choose another."
    yield


UPDATE = "pytest tests/laws/test_backends.py -k witnesses --update-golden"


def _derived(name, label):
    p = PROBLEMS[name]()
    return p, derive(p.graph, STRATEGIES[label])


@functools.cache
def _exact(name):
    p = PROBLEMS[name]()
    return integrate(p.graph, p.values)


# --- the exact law on kernels -----------------------------------------------------------------------------------------
def test_kernels_satisfy_the_exact_law(name, label, form, by_python):
    p, derivation = _derived(name, label)
    exact = _exact(name)
    with _run(derivation, name, label, form, by_python):
        found = expected_by_kernel(derivation, p.values)
    assert found.cost == pytest.approx(exact.cost, abs=1e-10)
    for parameter, gradient in exact.grad.items():
        np.testing.assert_allclose(found.grad[parameter], gradient, atol=1e-10)


@pytest.mark.parametrize("by_python", [True, False], ids=["python", "compiled"])
def test_a_wrong_kernel_is_caught(by_python, monkeypatch):
    """Planted: the kernel's comparison of u and p is turned round."""
    from scg_numba import text

    begun = text.Text.__init__

    def planted(self, body, *rest):
        begun(self, body.replace(" < ", " > ", 1) if "record" in body else body, *rest)

    monkeypatch.setattr(text.Text, "__init__", planted)
    p, derivation = _derived("bernoulli_toy", "score")
    with run_by_python() if by_python else contextlib.nullcontext():
        exact, found = integrate(p.graph, p.values), expected_by_kernel(derivation, p.values)
    assert any(np.max(np.abs(found.grad[n] - exact.grad[n])) > 1e-3 for n in exact.grad)


# --- record and feed -------------------------------------------------------------------------------------------------
def _recorded(f, values, samples):
    """A call that records every site's value, (rows, samples, *shape)."""
    return f(values, samples=samples, rng=7, record=tuple(f._derivation.draft.values))


def test_record_and_feed(name, label, form, by_python):
    p, derivation = _derived(name, label)
    samples = BY_PYTHON.get(label, 40) if by_python else SAMPLES
    reference = scg.compile(p.graph, strategy=STRATEGIES[label], backend="numpy")
    with _run(derivation, name, label, form, by_python):
        a = _recorded(scg.compile(p.graph, strategy=STRATEGIES[label], stderr=form == "errors"), p.values, samples)
    drawn = _recorded(reference, p.values, samples)
    for site, values in a.record.items():
        if p.graph.sites[site].family.support.integral:
            _check_discrete(site, values, drawn.record[site])
        else:
            np.testing.assert_allclose(values, drawn.record[site], rtol=1e-11, atol=1e-300)
    b = _fed(derivation, reference, p.values, a.record, samples)
    np.testing.assert_allclose(a.cost, b["cost"], rtol=1e-10, atol=1e-13)
    for parameter, gradient in a.grad.items():
        np.testing.assert_allclose(gradient, b[parameter], rtol=1e-9, atol=1e-12)
    if form == "errors":
        _check_errors(a, drawn)


def _check_errors(a, b):
    """Standard errors are the reference's, where the sites are."""
    np.testing.assert_allclose(a.cost_stderr, b.cost_stderr, rtol=1e-6, atol=1e-12)
    for parameter, error in a.stderr.items():
        np.testing.assert_allclose(error, b.stderr[parameter], rtol=1e-6, atol=1e-12)


def _check_discrete(site, recorded, drawn):
    """Values may differ where u is within 16 ulp of a probability: 16 · 2⁻⁵³ of all draws, so here nowhere."""
    assert (recorded == drawn).all(), f"{(recorded != drawn).sum()} values of {site} differ between the backends"


def _fed(derivation, reference, values, recorded, samples):
    """Cost and gradients by the reference backend, with the sites' values fed wherever they are drawn as they stand."""
    mapping, fed = {}, {}
    for site, node in derivation.draft.values.items():
        if node.op is sample_op:
            leaf = feed(f"fed {site}", node.shape, node.axes)
            mapping[node] = leaf
            array = recorded[site]
            fed[leaf.attrs.name] = array if any(ax.name == "row" for ax in node.axes) else array[0]
    params = list(derivation.graph.params.values())
    found = gradients({sum_of(derivation.roots()): constant(1.0)}, params)
    found = [constant(np.zeros(x.shape)) if g is None else g for x, g in zip(params, found)]
    roots = substitute([expect(sum_of(list(derivation.draft.costs.values()))), *found], mapping)
    layout = reference._layout
    rows = next((len(np.asarray(values[n])) for n in derivation.graph.rows), 1)
    division = divide(layout, rows, samples)
    starts = np.arange(division.groups) * samples // division.groups
    states = {s.name: np.full(s.leaf.shape, s.initial) for s in derivation.draft.states}
    evaluation = Evaluation({n: np.asarray(v, float) for n, v in values.items()},
                            {"row": rows, "lane": samples}, fed=fed, states=states,
                            keys={path: key(7, path) for path in layout.paths},
                            groups=lambda size: (starts, np.diff(np.append(starts, samples))))
    cost, *grads = evaluate(roots, evaluation)
    return {"cost": cost, **{x.attrs.name: g for x, g in zip(params, grads)}}


# --- the same bits everywhere ----------------------------------------------------------------------------------------
def _same_bits(a, b):
    assert a.cost == b.cost
    np.testing.assert_array_equal(a.cost_stderr, b.cost_stderr)
    for parameter in a.grad:
        np.testing.assert_array_equal(a.grad[parameter], b.grad[parameter])
        np.testing.assert_array_equal(a.stderr[parameter], b.stderr[parameter])


@pytest.mark.parametrize("name", ["bernoulli_toy", "rows", "shared_weights", "scan_4_steps", *(
    pytest.param(n, marks=pytest.mark.full) for n in ("two_layer_net", "gamma_square", "normal_rows"))])
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


def _exported(f, path):
    """The module of an exported estimator; a module that nobody can import again, as plug-ins are loaded, will do."""
    f.export(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert path.stem not in sys.modules
    return module


@pytest.mark.parametrize("name", ["gamma_square", pytest.param("bernoulli_toy", marks=pytest.mark.full),
                                  *(pytest.param(n, marks=pytest.mark.full) for n in ("rows", "shared_weights"))])
def test_the_exported_module_gives_the_same_bits(name, tmp_path):
    """As it compiles itself. That other modules are the same code is held by the next law, in little time."""
    p = PROBLEMS[name]()
    f = scg.compile(p.graph)
    module = _exported(f, tmp_path / f"exported_{name}.py")
    module.self_check()
    samples = 2 * f._layout.chunk_lanes + 100
    _same_bits(f(p.values, samples=samples, rng=3), module.estimate(p.values, samples=samples, rng=3))


@pytest.mark.parametrize("name", ["bernoulli_toy", "rows", "shared_weights", "gamma_square", "scan_4_steps"])
def test_the_exported_module_is_the_same_code(name, tmp_path):
    """Its functions are those that kernels call, its kernel the estimator's, and with that it gives the same bits."""
    p = PROBLEMS[name]()
    f = scg.compile(p.graph)
    module = _exported(f, tmp_path / f"exported_{name}.py")
    here = f._calls.kernel.module
    compared = compare_functions(module, here)
    assert {"chunk", "_philox", "tile_end", "settle"} <= compared
    for name in (x for x in vars(here) if x.startswith("CONST") or x in ("INF", "NAN", "W", "POOL")):
        np.testing.assert_array_equal(getattr(module, name), getattr(here, name))
    for name, array in f._calls.kernel.text.constants.items():
        np.testing.assert_array_equal(getattr(module, name), array)
    assert module.WORKSPACE.sizes == f._calls.kernel._workspace.sizes
    module.chunk = here.chunk
    samples = 2 * f._layout.chunk_lanes + 100
    module.self_check()
    _same_bits(f(p.values, samples=samples, rng=3), module.estimate(p.values, samples=samples, rng=3))


def test_any_name_can_be_exported(tmp_path):
    """With its own kernel in the place of the module's, which has the same text but for comments."""
    g = scg.Graph("it's \"quoted\"")
    b = g.sample('b"""\\N', scg.Bernoulli(logits=g.param("th'e\\x\"\"\"ta")))
    g.cost("{lo\\U}ss", g.node('"""', (b - 0.45) ** 2))
    f, values = scg.compile(g), {"th'e\\x\"\"\"ta": 0.3}
    module = _exported(f, tmp_path / "named.py")
    assert "chunk" in compare_functions(module, f._calls.kernel.module)
    module.chunk = f._calls.kernel.function
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


@pytest.mark.parametrize("name", ["shared_weights", "gamma_square", *(
    pytest.param(n, marks=pytest.mark.full) for n in ("normal_cosine", "two_layer_net", "scan_4_steps"))])
def test_float32_agrees_with_float64(name):
    """Sites differ where the coarser uniforms fall on the other side; means agree within their standard errors.

    The errors of both are those of float64, whose kernel other laws have compiled.
    """
    p = PROBLEMS[name]()
    a = scg.compile(p.graph)(p.values, samples=100_000, rng=5)
    b = scg.compile(p.graph, dtype="float32", stderr=False)(p.values, samples=100_000, rng=6)
    for parameter in a.grad:
        assert b.grad[parameter].dtype == np.float32
        error = np.sqrt(2.0) * a.stderr[parameter]
        assert np.all(np.abs(a.grad[parameter] - b.grad[parameter]) < 5 * error + 1e-5)


# --- scans and unrolled loops ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_scan_and_its_unrolled_graph_draw_the_same_words(backend):
    """Site "h" at step 2 of a scan and site "h[2]" are the same random numbers, and the estimates agree.

    Kernels are run by Python: which words are drawn is what they say.
    """
    values, steps = scan_values(), 3
    strategy = scg.ScoreFunction(baseline=scg.LeaveOneOut())
    loop = scg.compile(scanned(steps), strategy=strategy, backend=backend, stderr=False)
    flat = scg.compile(unrolled(steps), strategy=strategy, backend=backend, stderr=False)
    names = [f"h[{t}]" for t in range(steps)]
    with run_by_python():
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
    with run_by_python():
        kernel = expected_by_kernel(derive(graph, scg.ScoreFunction()), values)
    for parameter, gradient in exact.grad.items():
        np.testing.assert_allclose(found.grad[parameter], gradient, atol=1e-10)
        np.testing.assert_allclose(kernel.grad[parameter], gradient, atol=1e-10)
