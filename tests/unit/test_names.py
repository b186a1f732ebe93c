"""Users' names are only names: whatever they are, they mean nothing to the parts that use names of their own."""

import importlib.util
import re

import numpy as np
import pytest
import sympy

import scg
from scg import noise
from tests.laws.checks.exported import with_the_kernel_of

SAMPLES = 40_000


# --- streams of replays ----------------------------------------------------------------------------------------------
def _replayed(other: str, noise: str) -> scg.Graph:
    """E[zy + z²] at loc t, whose gradient is 2t; `other` names y, which replays of z must leave independent of it."""
    g = scg.Graph()
    z = g.sample("z", scg.Normal(loc=g.param("t"), scale=1.0), estimator=scg.WeakDerivative(noise=noise))
    y = g.sample(other, scg.Normal(loc=0.0 * z, scale=1.0) if noise == "fresh" else scg.Normal(loc=0.0, scale=1.0))
    g.cost("c", z * y + z * z)
    return g


@pytest.mark.parametrize("noise", ["common", "fresh"])
@pytest.mark.parametrize("other", ["z/weak derivative 0", "z/weak derivative 0+", "z'", "other"])
def test_no_site_shares_the_noise_of_a_replay(other, noise):
    r = scg.compile(_replayed(other, noise), backend="numpy")({"t": 0.5}, samples=SAMPLES, rng=0)
    assert abs(r.grad["t"] - 1.0) < 5 * r.stderr["t"]


def test_paths_of_replays_are_no_names():
    layout = scg.compile(_replayed("other", "fresh"), backend="numpy")._layout
    assert {path for path in layout.paths if path.isprintable()} == {"z", "other"}
    assert len(layout.paths) > 2


def test_paths_of_one_hash_are_refused(monkeypatch):
    monkeypatch.setattr(noise, "h64", lambda path: 7)
    with pytest.raises(scg.DeclarationError, match="same 64-bit hash"):
        scg.compile(_replayed("other", "common"), backend="numpy")


# --- state -----------------------------------------------------------------------------------------------------------
STATE = "b moving average"


def _averaged(param: str) -> scg.Graph:
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param(param)),
                 estimator=scg.ScoreFunction(baseline=scg.MovingAverage()))
    g.cost("c", 3.0 * (b - 0.45) ** 2)
    return g


@pytest.mark.by_python
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_param_is_not_a_state_of_its_name(backend):
    plain, named = (scg.compile(_averaged(name), backend=backend) for name in ("t", STATE))
    a, b = (f({name: 0.7}, samples=1000, rng=0, state={STATE: 2.0}) for f, name in ((plain, "t"), (named, STATE)))
    assert (a.cost, a.grad["t"], a.state[STATE]) == (b.cost, b.grad[STATE], b.state[STATE])
    assert scg.verify(named, {STATE: 0.7}).passed


# --- numbers of the interpreter --------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_param_is_not_a_number_of_the_interpreter(shape):
    def estimate(name: str):
        g = scg.Graph()
        x = g.sample("b", scg.Bernoulli(logits=np.sum(g.param(name, shape)) + g.data("d")))
        g.cost("c", x)
        values = {name: np.ones(shape), "d": np.arange(3.0)}
        return scg.compile(g, backend="numpy")(values, samples=100, rng=0).grad[name]

    np.testing.assert_array_equal(estimate("first row"), estimate("p"))


@pytest.mark.by_python
@pytest.mark.parametrize("technology", ["numpy", "numba"])
def test_a_param_is_not_a_stream_of_its_name(technology):
    """The site "h[1]" draws the words of the path "h"; under fed noise a leaf has that name beside the param."""
    from scg.derive import derive
    from scg.expectation.law import expected_by_kernel

    g = scg.Graph()
    h = g.param("h")
    g.cost("c", (g.sample("h[1]", scg.Bernoulli(logits=h)) - 0.45) ** 2)
    found = expected_by_kernel(derive(g), {"h": 0.3}, technology)
    np.testing.assert_allclose(found.grad["h"], scg.exact(g, {"h": 0.3}).grad["h"], rtol=1e-12)


# --- symbols ---------------------------------------------------------------------------------------------------------
PAIRS = [("a b", "a_b"), ("a_b", "a b"), ("a  b", "a _b"), ("a b", "a_b'"), ("theta", "\N{GREEK SMALL LETTER THETA}"),
         ("E", "I"), ("pi", "S"), ("i", "j"), ("i1", "t"), ("log", "exp"), ("Stopped", "LOO"), ("lambda", "a.b")]


@pytest.mark.parametrize("first, second", PAIRS)
def test_names_are_symbols_of_their_own(first, second):
    g = scg.Graph()
    p, q = g.param(first), g.param(second)
    g.cost("c", np.sin(p) * q * q)
    s, values = g.surrogate(), {first: 0.3, second: 1.7}
    symbols = [s.symbols[name] for name in values]
    for name, expected in scg.exact(g, values).grad.items():
        assert sympy.lambdify(symbols, s.estimator(name), "math")(*values.values()) == pytest.approx(float(expected))


def _draws(name: str) -> scg.Graph:
    """A graph in which `name` is a param, beside what has names of this package: noise, a state, a replay, an index."""
    g = scg.Graph()
    p = g.param(name)
    x = g.sample("x", scg.Normal(loc=p, scale=1.0), estimator=scg.Pathwise())
    b = g.sample("b", scg.Bernoulli(logits=p), estimator=scg.ScoreFunction(baseline=scg.MovingAverage()))
    k = g.sample("k", scg.Bernoulli(logits=p * np.ones(20)), estimator=scg.LocalExpectation())
    g.cost("c", np.sum(k * np.arange(20.0)) * x + b * p)
    return g


@pytest.mark.parametrize("name", ["epsilon x", "epsilon_x", "b moving average", "b_moving_average", "k'", "i", "i j",
                                  "u_b", "x'", "E"])
def test_a_param_has_no_symbol_of_ours(name):
    plain, named = _draws("plain").surrogate(), _draws(name).surrogate()
    expected, found = plain.estimator("plain"), named.estimator(name)
    assert len(found.free_symbols) == len(expected.free_symbols)
    assert found.count_ops() == expected.count_ops()
    assert found.diff(named.symbols[name]) != 0


def test_a_param_and_a_site_are_two_symbols():
    g = scg.Graph()
    b = g.sample("a_b", scg.Bernoulli(logits=g.param("a b")))
    g.cost("c", b)
    assert len(g.surrogate().estimator("a b").free_symbols) == 2


# --- generated text --------------------------------------------------------------------------------------------------
CODE = "__import__('sys').modules[__name__].__dict__.update(executed=1)"
ODD = [f'"";{CODE} #', f'"" {CODE}', f"';{CODE} #", f'x";{CODE} #', "a'b", 'a"', 'a""', "{x}", "{0}", "%s", "#", "$x$",
       "a&b", "a^b", "~", "_", "[", "a/b", "../x", "-", "a" * 300]


def _named(**names) -> scg.Graph:
    g = scg.Graph(names.get("graph", "graph"))
    t = g.param(names.get("param", "t"))
    b = g.sample(names.get("site", "b"), scg.Bernoulli(logits=t))
    g.cost(names.get("cost", "c"), (g.node(names.get("node", "h"), 2.0 * b + t) - 0.45) ** 2)
    return g


def _loaded(path):
    spec = importlib.util.spec_from_file_location("generated", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [ODD[2], ODD[3], "{x} %s", "../x#", "a" * 300])
def test_names_in_generated_modules_are_no_code(name, tmp_path):
    g = _named(**{role: f"{name}{i}" for i, role in enumerate(("param", "site", "node", "cost"))}, graph=name)
    f = scg.compile(g, strategy=scg.ScoreFunction(), stderr=False)
    f.export(tmp_path / "module.py")
    (tmp_path / "kernel.py").write_text(f.source)
    module, values = _loaded(tmp_path / "module.py"), {f"{name}0": 0.3}
    assert not hasattr(module, "executed") and not hasattr(_loaded(tmp_path / "kernel.py"), "executed")
    r = f(values, samples=100, rng=0)
    with_the_kernel_of(f, module)
    assert module.estimate(values, samples=100, rng=0).grad[f"{name}0"] == r.grad[f"{name}0"]
    assert name in f.source and name in f.explain()


@pytest.mark.parametrize("name", [n for n in ODD if '""' in n] + ["a\\", 'a"""b', "a\nb"])
def test_graphs_are_not_named_in_code(name):
    with pytest.raises(scg.DeclarationError, match="was given as the name of a graph"):
        scg.Graph(name)


@pytest.mark.parametrize("name", ["a\nb", "", "\x1f", "b\x1fweak derivative 0", "\u2028", 3, None])
@pytest.mark.parametrize("role", ["param", "site", "node", "cost"])
def test_names_are_printable(role, name):
    with pytest.raises(scg.DeclarationError, match="was given as a name"):
        _named(**{role: name})


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.LocalExpectation(), scg.MuProp()], ids=str)
@pytest.mark.parametrize("name", [*ODD, "\\frac{1}{2}", "x_{1}"])
def test_names_in_latex_are_no_commands(name, strategy):
    s = _named(param=f"{name}0", site=name, node=f"{name}2", cost=f"{name}3").surrogate(strategy)
    for text in (s.latex(), s.latex(expand=True)):
        plain = re.sub(r"\\(backslash|hat|sim)\{\}|\\[{}$&#%_]", "", text)
        plain = re.sub(r"&(=|:|\\sim|\\quad|\\approx|\\leftarrow)", "", plain)  # where lines are aligned
        assert plain.count("{") == plain.count("}") and not re.search(r"[$#%~&]", plain)
