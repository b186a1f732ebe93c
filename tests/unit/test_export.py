"""The exported module is the estimator: the same numbers, notes and refusals, and nothing that users name is code."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scg_numba
from scg_numba.text import RARE

import scg
from scg.export import module as export
from scg.export.literals import Literals
from scg.export.names import names_of
from tests.laws.checks.exported import with_the_kernel_of

pytestmark = pytest.mark.optimised


def _loaded(path, name: str = "standalone") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A function with two data leaves, a state, a check and a logarithm, and its exported module."""
    g = scg.Graph("observed")
    t, s, x, y = g.param("t"), g.param("s", 2), g.data("x"), g.data("y", 2)
    b = g.sample("b", scg.Bernoulli(logits=t * x))
    z = g.sample("z", scg.Normal(loc=s[0], scale=s[1]))
    g.cost("c", b * (y * s).sum() + z**2 + np.log(t))
    f = scg.compile(g, strategy={"b": scg.ScoreFunction(baseline=scg.MovingAverage()), "z": scg.Pathwise()})
    path = tmp_path_factory.mktemp("export") / "standalone.py"
    f.export(path)
    return f, with_the_kernel_of(f, _loaded(path)), path


GOOD = {"t": 0.5, "s": [1.0, 2.0], "x": [1.0, 2.0, 3.0], "y": np.ones((3, 2))}
BAD_VALUES = [
    {}, {"t": 0.5}, {**GOOD, "q": 1.0}, {**GOOD, "t": [0.5]}, {**GOOD, "t": np.nan}, {**GOOD, "s": [1.0, np.inf]},
    {**GOOD, "x": [1.0]}, {**GOOD, "y": np.ones((1, 2))}, {**GOOD, "x": [], "y": np.ones((0, 2))},
    {**GOOD, "x": 1.0}, {**GOOD, "y": np.ones((3, 3))}, {**GOOD, "t": "a"}, {**GOOD, "t": 1j}, {**GOOD, "t": None},
    {**GOOD, "s": [[1.0], 2.0]}, {**GOOD, "t": np.ma.array(1.0, mask=True)}, {**GOOD, 3: 1.0}, [1.0], None, "t",
    10**400, {**GOOD, "t": 10**400}, {**GOOD, "s": [1.0, -2.0]}, {**GOOD, "t": 0.0},
]  # fmt: skip
BAD_OPTIONS = [
    {"samples": n} for n in (0, -1, 1.5, True, None, "3", 2**43, 2**70, np.float64(2.0))] + [
    {"rng": r} for r in ("seed", 1.5, True, [1], np.random)] + [
    {"state": s} for s in ({"nobody": 1.0}, 3, {"b": [1.0]}, {"b": np.nan}, [])]  # fmt: skip


def _refusal(call) -> tuple[str, str]:
    with np.errstate(all="ignore"), pytest.raises(Exception) as caught:
        call()
    return type(caught.value).__name__, str(caught.value)


@pytest.mark.parametrize("values, options", [(v, {}) for v in BAD_VALUES] + [(GOOD, o) for o in BAD_OPTIONS], ids=repr)
def test_what_the_function_refuses_the_module_refuses_in_the_same_words(pair, values, options):
    f, module, _ = pair
    (kind, ours), (other_kind, theirs) = (_refusal(lambda g=g: g(values, **options)) for g in (f, module.estimate))
    assert kind == other_kind and ours.startswith("test_export.py:")
    if kind == "NonFiniteError":  # the graph is not there to name the node
        assert 'graph "observed": The estimate is not finite.' in theirs
    else:
        assert theirs == ours and kind == "CallError"


def test_a_call_of_the_module_is_checked_as_one_of_the_function_is(pair):
    f, module, _ = pair
    for more, options in (((64,), {}), ((), {"record": "b"}), ((), {"executor": None, "n": 3}), ((64, 0), {"rng": 0})):
        kind, text = _refusal(lambda more=more, options=options: module.estimate(GOOD, *more, **options))
        assert kind == "CallError" and text.startswith("test_export.py:")
        assert "by name samples, rng, state and executor." in text and "Call it as estimate(" in text
    ours, theirs = (_refusal(lambda g=g: g(GOOD, 64, n=3))[1] for g in (f, module.estimate))
    assert theirs == ours.replace(" f(", " estimate(").replace(", executor and record", " and executor")
    ours, theirs = (_refusal(lambda g=g: g()) for g in (f, module.estimate))
    assert ours == theirs
    r = module.estimate(GOOD, samples=4, rng=0)
    for asked in (lambda: r.grad["q"], lambda: r["t"], lambda: r.costs[0]):
        kind, text = _refusal(asked)
        assert kind == "UnknownName" and text.startswith("test_export.py:")


def test_errors_are_pythons_own_kinds_too(pair):
    _, module, _ = pair
    with pytest.raises(ValueError, match="The value of"):
        module.estimate({})
    with pytest.raises(ArithmeticError, match="not finite"):
        module.estimate({**GOOD, "t": 0.0})


def test_the_module_returns_what_the_function_returns(pair):
    f, module, _ = pair
    for samples in (1, 64, 3000):
        ours, theirs = f(GOOD, samples=samples, rng=7), module.estimate(GOOD, samples=samples, rng=7)
        for name in ("cost", "cost_stderr", "samples", "rows", "seed", "notes", "costs"):
            np.testing.assert_equal(getattr(theirs, name), getattr(ours, name))
        for name in ("grad", "stderr", "state"):
            np.testing.assert_equal(getattr(theirs, name), getattr(ours, name))
        assert repr(theirs) == repr(ours) and theirs.record == {}
        assert theirs._repr_html_() == ours._repr_html_()
        (_, said), (_, also) = (_refusal(lambda r=r: r.gradient) for r in (ours, theirs))
        assert said == also and "r.grad" in said
        again = module.estimate(GOOD, samples=samples, rng=8, state=theirs.state)
        np.testing.assert_equal(again.grad, f(GOOD, samples=samples, rng=8, state=ours.state).grad)


def test_notes_come_back(tmp_path, monkeypatch):
    g = scg.Graph("sum")
    k = g.sample("k", scg.Poisson(rate=g.param("rate")), estimator=scg.Enumerate(upto=3))
    g.cost("c", k**2)
    f = scg.compile(g)
    monkeypatch.setattr(export, "_example", lambda f: None)
    notes = (*f._calls.notes, "what is to be said of every estimate\u2028")
    monkeypatch.setattr(f._calls, "notes", notes)
    f.export(tmp_path / "sum.py")
    module = _loaded(tmp_path / "sum.py")
    assert module.CALLS.notes == notes and module.CALLS.division(1, 1)[1][: len(notes)] == notes


def test_the_module_can_go_by_any_name_and_leaves_nothing_beside_it(pair, tmp_path):
    """Numba's cache beside a module cannot be read under another name of it; so there is none."""
    f, module, path = pair
    assert "cache" not in {keyword.arg for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
                           for keyword in node.keywords}
    assert module.estimate(GOOD, samples=8, rng=0).cost == f(GOOD, samples=8, rng=0).cost
    assert repr(_loaded(path, "another.name").LAYOUT) == repr(module.LAYOUT)
    assert [p.name for p in path.parent.iterdir() if p.suffix != ".py" and p.name != "__pycache__"] == []
    assert not list(path.parent.rglob("*.nb?"))


def test_the_module_needs_no_scg(pair):
    imported = {(node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
                for node in ast.walk(ast.parse(pair[2].read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))
                for alias in node.names}
    outside = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert outside <= {"numpy", "numba", "llvmlite"}


def test_a_self_check_without_an_estimate_says_so(pair, tmp_path, monkeypatch, capsys):
    def refuse(*args, **options):
        raise scg.CallError("", "Nothing fits.")

    pair[1].self_check()
    assert capsys.readouterr().out == "self-check passed\n"
    monkeypatch.setattr(type(pair[0]), "__call__", refuse)
    pair[0].export(tmp_path / "odd.py")
    _loaded(tmp_path / "odd.py").self_check()
    assert "no estimate was checked" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["", ".", "/", "/proc/none/x.py", None, 3, "a\0b"], ids=repr)
def test_places_that_cannot_be_written(path, pair, monkeypatch):
    monkeypatch.setattr(export, "_example", lambda f: None)
    with pytest.raises(scg.SCGError, match="cannot be written"):
        pair[0].export(path, overwrite=True)


# --- what users name is no code ---------------------------------------------------------------------------------------
CODE = "import builtins; builtins.executed = True"
ENDS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
HOSTILE = [f"a{end}{CODE}{end}#" for end in ENDS] + [
    f"{quote}\n{CODE}\n{quote}" for quote in ('"""', "'''", '"', "'")] + [
    f"{quote}; {CODE} #" for quote in ('"""', "'''", '"', "'", '""', '""""')] + [
    "\\", 'a\\"', '\\"""', "\\N{DIGIT ONE}", "\\x0a", "\\u000a" + CODE, "{0.__class__}", "{x!r:>{y}}", "%s %d %n %(a)s",
    "{{}}{", "a\0b", "{__import__('builtins').__dict__.update(executed=True)}",
    "__import__('builtins').__dict__.update(executed=True)", "# -*- coding: utf-7 -*-", "coding: rot13",
    "\u202e\u200f)(", "\ud800", "\udcff\n", "x" * 20_000, "", " ", "\t", "é\u00a0\u3000", "\x1b[31m", "$(id)`id`",
    "</svg>\\end{document}"]
FORMULAS = [h for h in HOSTILE if "__import__" in h or h[0:1] in "\\{%a"][::4]  # sympy takes its time


class Sneaky(str):
    """A name that passes for a printable one, and that has code where its quotes should be."""

    __slots__ = ()

    def isprintable(self) -> bool:
        return True

    def __contains__(self, part) -> bool:
        return False

    def __repr__(self) -> str:
        return f"(\n{CODE}\n)"


def _graph(name: str, file: str = "benign.py") -> scg.Graph:
    text = """g = scg.Graph(name + "g")
t, x, i = g.param(name + "t"), g.data(name + "x"), g.input(name + "i", 2)
b = g.sample(name + "b", scg.Bernoulli(logits=t * x))
n = g.node(name + "n", b * i.sum() + t)
z = g.sample(name + "z", scg.Normal(loc=n, scale=1.0))
g.cost(name + "c", (z - 0.45) ** 2)
"""
    scope = {"scg": scg, "name": name}
    exec(compile(text.replace('name + "', 'name("') if callable(name) else text, file, "exec"), scope)
    return scope["g"]


def _code(text: str) -> str:
    """What runs of a text: its syntax tree without the words in it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        if isinstance(node, ast.JoinedStr):
            node.values = []
    return ast.dump(tree)


def _written(f) -> tuple[str, str]:
    """The kernel's text and the exported module's, less the parts that are files and have nothing of the graph."""
    *files, kernel = f._kernel.standalone()[0]
    for title, text in files:
        assert text == (Path(scg_numba.__file__).parent / f"{title}.py").read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f._kernel, "standalone", lambda: ([kernel], {}))
        return f.source, export.module_of(f, "written", None).text


def _texts(g: scg.Graph) -> tuple[str, str]:
    return _written(scg.compile(g))


@pytest.fixture(scope="module")
def benign():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_example", lambda f: None)
        return [_code(text) for text in _texts(_graph(""))]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text)[:40])
def test_file_names_are_no_code(hostile, benign, monkeypatch):
    monkeypatch.setattr(export, "_example", lambda f: None)
    file = hostile.replace("\0", "\x01").replace("/", "|")  # compile() takes no null, and a path has its own folders
    texts = _texts(_graph("", file or "\n"))
    assert [_code(text) for text in texts] == benign
    for text in texts:
        text.encode()
        assert not re.search("[\x00-\x09\x0b-\x1f\x85\u2028\u2029\u202e]", text)
    with pytest.raises(scg.EstimatorError) as caught:
        scg.compile(_graph("", file or "\n"), strategy=scg.Pathwise())
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()
    assert not hasattr(builtins, "executed")


@pytest.mark.parametrize("hostile", [h for h in HOSTILE if "\ud800" not in h and "\udcff" not in h],
                         ids=lambda text: ascii(text)[:40])
def test_names_are_no_code_even_where_they_pass_the_declaration(hostile, benign, monkeypatch):
    monkeypatch.setattr(export, "_example", lambda f: None)
    monkeypatch.setattr(Sneaky, "__add__", lambda self, other: Sneaky(str.__add__(self, other)), raising=False)
    g = _graph(Sneaky(hostile))
    f = scg.compile(g)
    texts = _written(f)
    assert [_code(text) for text in texts] == benign
    assert _layout_of(texts[1]).leaves[0].name == hostile + "t"
    for text in (str(f.surrogate), f.explain(), str(g), repr(f.verdict)):
        assert isinstance(text, str)
    if hostile in FORMULAS:
        shown = names_of(f.surrogate.derivation).given(hostile + "t")
        assert f.surrogate.latex() and shown in {str.__add__(s.name, "") for s in f.surrogate.sympy().free_symbols}
    for values in ({}, {hostile + "t": np.nan}, {"{x}%s": 1.0}):
        with pytest.raises(scg.CallError):
            f(values)
    assert not hasattr(builtins, "executed")


def _layout_of(text: str):
    """The layout that an exported text holds, made by its literal alone."""
    from scg.errors import Problem
    from scg.program import Layout, Leaf, Slot

    (value,) = (n.value for n in ast.parse(text).body
                if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "LAYOUT")
    return eval(compile(ast.Expression(value), "layout", "eval"),
                {"Layout": Layout, "Leaf": Leaf, "Slot": Slot, "Problem": Problem})


@pytest.mark.parametrize("value", [
    1, -2.5, float("inf"), None, True, (), (1,), {"a": [1, (2.0,)]}, np.float64(3.0), np.int64(4), Sneaky("a\n")],
    ids=ascii)  # fmt: skip
def test_literals(value):
    assert ast.literal_eval(Literals()(value)) == value if value != float("inf") else True
    assert eval(Literals()(value)) == value


def test_no_two_texts_that_a_module_may_hold_define_one_name():
    """Of the host, and of all that kernels call, rare or not."""
    inner = ("pipeline", "outlined", "lowered_values", "lowering", "noise", "choices", "runtime", "vector_math",
             "running", "special", "powers", *dict.fromkeys(RARE.values()))
    found = [*export.HOST, *(importlib.import_module(f"scg_numba.{name}") for name in inner)]
    export._check_names([(part.__name__, inspect.getsource(part)) for part in found])
