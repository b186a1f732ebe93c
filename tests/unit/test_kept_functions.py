"""What is kept of compiled functions: what is found is what would be compiled, and nothing else is ever found."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from unittest.mock import patch

import numba
import numpy as np
import pytest
from scg_numba import stored

import scg
from scg import kept
from scg.ir.op import OPS
from tests.kept_by_name import is_found, kept_by_name  # noqa: F401  (a fixture of all tests here)
from tests.problems import PROBLEMS

OPTIONS = {"strategy": None, "wrt": None, "costs": None, "backend": "numba", "dtype": "float64", "stderr": True,
           "order": 1}


def _twice(make, **options):
    """What is compiled, and what is found of it."""
    first, second = scg.compile(make(), **options), scg.compile(make(), **options)
    assert not is_found(first) and is_found(second)
    return first, second


# --- what is found ----------------------------------------------------------------------------------------------------
FOUND = [("bernoulli_toy", None), ("bernoulli_toy", scg.REBAR()), ("rows", scg.ScoreFunction(scg.MovingAverage())),
         ("shared_weights", None), ("gamma_square", None), ("scan_4_steps", scg.LocalExpectation())]


@pytest.mark.parametrize("name, strategy", FOUND, ids=str)
def test_whatis_found_is_what_is_compiled(name, strategy):
    """It runs the same text with the same numbers, and says the same."""
    first, second = _twice(lambda: PROBLEMS[name]().graph, strategy=strategy)
    ours, theirs = first._kernel.text, second._kernel.text
    assert ours.code() == theirs.code() and ours.workspace == theirs.workspace
    assert {n: a.tobytes() for n, a in ours.constants.items()} == {n: a.tobytes() for n, a in theirs.constants.items()}
    whole, none = first._layout, (kept._UNTOLD,) * len(first._layout.problems)
    assert replace(whole, problems=none) == second._layout and first._needed[2:] == second._needed[2:]
    assert not ours.constants or all(a.flags.c_contiguous for a in theirs.constants.values())
    assert second._derived is None  # so far nobody has looked into it
    assert first.init(3).keys() == second.init(3).keys()
    assert all(np.array_equal(x, second.init(3)[n]) for n, x in first.init(3).items())
    for look in (lambda f: str(f.verdict), lambda f: str(f.surrogate), lambda f: f.source, lambda f: f.schedule,
                 lambda f: str(f.credit), repr):
        assert look(first) == look(second)
    again = pickle.loads(pickle.dumps(second))
    assert again._layout == whole and again.source == first.source and str(again.verdict) == str(first.verdict)


def _checked(shift: float = 0.45) -> scg.Graph:
    g = scg.Graph("checked")
    t, x = g.param("t", init=0.3), g.data("x")
    b = g.sample("b", scg.Bernoulli(probs=t))
    g.cost("c", np.log(x + b) + (b - shift) ** 2)
    return g


def test_calls_of_whatis_found_give_the_same_bits_and_refuse_in_the_same_words(tmp_path):
    first, second = _twice(_checked)
    at = {"t": 0.3, "x": [0.5, 0.7]}
    one, other = (f(at, samples=20, rng=1) for f in (first, second))
    assert one.cost == other.cost and one.grad["t"] == other.grad["t"] and one.stderr["t"] == other.stderr["t"]
    for wrong in ({"t": 1.3, "x": [0.5]}, {"t": 0.3, "x": [-0.5]}, {"t": 0.3}):
        said = []
        for f in (first, second):
            with pytest.raises(scg.SCGError) as caught:
                f(wrong, samples=20, rng=1)
            said.append(str(caught.value))
        assert said[0] == said[1]
    assert first._recorder(("b",)).source == second._recorder(("b",)).source
    for f, name in ((first, "one"), (second, "two")):
        (tmp_path / name).mkdir()
        f.export(tmp_path / name / "same.py")
    assert (tmp_path / "one" / "same.py").read_text() == (tmp_path / "two" / "same.py").read_text()


def test_what_it_was_found_for_stays_as_it_was():
    g = _checked()
    scg.compile(g)
    f = scg.compile(g)
    assert is_found(f)
    g.cost("d", g.nodes["t"] ** 2)
    assert "d" not in f.surrogate.derivation.graph.costs and not is_found(scg.compile(g))


ELSEWHERE = """
import sys
import scg
from scg import kept
from scg.ir.op import OPS
assert set(OPS) == kept._OPS
from tests.unit.test_kept_functions import _checked, is_found
loaded = sys.modules["scg.compile"]
loaded.derive = loaded.derived_of = None
f = scg.compile(_checked())
assert is_found(f) and f.init(0)["t"] == 0.3
print(f._kernel.text.code() in sys.stdin.read())
"""


def test_another_process_derives_nothing(tmp_path, store):
    """It would have no function for it. And what it takes for the package's own ops is all of them."""
    f = scg.compile(_checked())
    with patch.dict(os.environ, SCG_CACHE_DIR=str(tmp_path), PYTHONHASHSEED="7",
                    PYTHONPATH=os.pathsep.join(sys.path)):
        for name, data in store.items():
            stored.remember(name, data)
        found = subprocess.run([sys.executable, "-c", ELSEWHERE], input=f._kernel.text.code(), text=True, check=True,
                               capture_output=True)
    assert found.stdout.split() == ["True"]


def test_what_says_linesis_found_at_its_lines_only():
    """A note on a kink, and one on a bias, name the line where it was written."""
    def compiled(blank: str):
        names = {"scg": scg}
        text = f'{blank}g = scg.Graph("g")\nt = g.param("t")\nz = g.sample("z", scg.Normal(t, 1.0))\n' \
            'g.cost("c", scg.maximum(z, t) + z * scg.stop_gradient(t))\nf = scg.compile(g)\n'
        exec(compile(text, "lines.py", "exec"), names)
        return names["f"]

    first, second, moved = compiled(""), compiled(""), compiled("\n\n")
    assert any("lines.py:4" in note for note in first._needed.notes) and "lines.py:4" in str(first.verdict)
    assert is_found(second) and second._needed.notes == first._needed.notes
    assert not is_found(moved) and any("lines.py:6" in note for note in moved._needed.notes)


# --- what is not ------------------------------------------------------------------------------------------------------
def _model(number=0.45, names=("t", "b", "c"), table=(0.1, 0.2), steps=3, op=np.tanh, estimator=None, family=scg.Normal,
           scale=None, whole=1.0, path="z", per_row=False, shape=None) -> scg.Graph:
    g = scg.Graph("model")
    t = g.param(names[0], init=0.3)
    b = g.sample(names[1], scg.Bernoulli(logits=op(t)), estimator=estimator, per_row=per_row, shape=shape)
    z = g.sample(path, family(t, 1.0))
    last, _ = g.scan(lambda carry, x: (carry * z + x, None), whole, xs=np.array([*table, *[0.7] * (steps - 2)]))
    g.cost(names[2], (b - number).sum() ** 2 * last, **({} if scale is None else {"scale": scale}))
    g.cost("d", z * t)
    return g


GRAPHS = {
    "whole number": {"number": 3.0}, "sign of zero": {"number": -0.0}, "zero": {"number": 0.0},
    "order of streams": {"names": ("t", "zz", "c")}, "table": {"table": (0.2, 0.1)}, "steps": {"steps": 4},
    "op": {"op": np.sin}, "estimator": {"estimator": scg.ScoreFunction()}, "other estimator": {"estimator": scg.ARM()},
    "family": {"family": scg.Gamma}, "stream": {"path": "z[1]"}, "where a loop starts": {"whole": 2.0},
    "rows": {"per_row": True}, "shape": {"shape": 1},
}  # fmt: skip
STRATEGIES = [
    scg.ScoreFunction(), scg.ScoreFunction(credit="steps"), scg.ScoreFunction(scg.LeaveOneOut()),
    scg.ScoreFunction(scg.LeaveOneOut(group=2)), scg.ScoreFunction(scg.LeaveOneOut(group=4)),
    scg.ScoreFunction(scg.MovingAverage()), scg.ScoreFunction(scg.MovingAverage(0.5)), scg.LocalExpectation(),
    scg.ScoreFunction(scg.Constant(0.5)), scg.ScoreFunction(scg.Constant(0.25)), {"b": scg.ScoreFunction()},
    {"z": scg.ScoreFunction()}, {"b": scg.REBAR()}, {"b": scg.REBAR(temperature=0.4)},
]
CHANGED = [{"wrt": ("t",)}, {"wrt": ()}, {"costs": ("c",)}, {"costs": ("d",)}, {"dtype": "float32"}, {"stderr": False},
           *({"strategy": strategy} for strategy in STRATEGIES)]


def _key(graph, **options) -> str | None:
    """Under which name a function is kept, wherever its lines are; None if it is not."""
    made_of = kept._structure(graph, {**OPTIONS, **options})
    return None if made_of is None else kept._names(made_of)[0]


def test_whatever_is_changed_is_something_else():
    keys = [_key(_model()), *(_key(_model(**change)) for change in GRAPHS.values()),
            *(_key(_model(), **options) for options in CHANGED)]
    assert None not in keys and len(set(keys)) == len(keys)
    assert _key(_model()) == keys[0]


def test_expressions_of_a_baseline_are_a_part_of_it():
    def key(number: float):
        g = _model()
        return _key(g, strategy={"b": scg.ScoreFunction(scg.Expression(g.nodes["t"] * number))})

    assert None is not key(3.0) == key(3.0) != key(4.0)


def test_the_order_in_which_things_are_declared_is_a_part_of_it():
    def key(first: str, second: str):
        g = scg.Graph("g")
        x = {first: g.param(first), second: g.param(second)}
        g.cost("c", x["s"] * x["t"])
        return _key(g)

    assert key("s", "t") != key("t", "s")


def test_other_versions_and_other_files_are_something_else():
    key = _key(_model())
    others = {"_versions": lambda: ("another",), "_LOADED": {"another": (1, 2)}}
    for what in (patch.object(kept, name, other) for name, other in others.items()):
        with what:
            assert key != _key(_model())
    f = scg.compile(_model())
    with patch.object(kept, "_state", lambda path: (1, 2)):
        assert not is_found(scg.compile(_model()))
        assert not is_found(scg.compile(_model(3.0)))
    assert is_found(scg.compile(_model())) and not is_found(scg.compile(_model(3.0)))
    assert len(kept._versions()) == 5 and kept._files(kept._ROOT) == kept._LOADED and not is_found(f)


def test_a_file_that_changes_changes_the_digest(tmp_path):
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "one.py"
    path.write_text("x = 1\n")
    found = [kept._files(str(tmp_path))]
    path.write_text("x = 12\n")
    found.append(kept._files(str(tmp_path)))
    os.utime(path, ns=(1, 1))
    found.append(kept._files(str(tmp_path)))
    path.rename(tmp_path / "two.py")
    found.append(kept._files(str(tmp_path)))
    assert len(set(map(str, found))) == 4 and kept._files(str(tmp_path / "none")) == {}


# --- what could change and keep its name ------------------------------------------------------------------------------
def _of_an_op():
    g = scg.Graph("g")
    x = g.param("t")
    scg.extend.elementwise("cubed", lambda x: x**3, "({0} * {0} * {0})", derivative=lambda g, y, x: (g * 3.0 * x * x,))
    g.cost("c", scg.extend.apply("cubed", x))
    return g, {}


def _own_path(noise, loc):
    return loc + scg.extend.uniform(noise)


def _own_log_prob(x, loc):
    return -abs(x - loc)


def _of_a_family():
    g = scg.Graph("g")
    family = scg.Custom({"loc": g.param("t")}, path=_own_path, log_prob=_own_log_prob)
    g.cost("c", g.sample("z", family))
    return g, {}


def _of_a_subclass():
    class Shifted(scg.Normal):
        """A family of the user's."""

    g = scg.Graph("g")
    g.cost("c", g.sample("z", Shifted(g.param("t"), 1.0)))
    return g, {}


def _of_an_estimator():
    @dataclass(frozen=True)
    class Doubled(scg.ScoreFunction):
        """A rule of the user's."""

    return _model(), {"strategy": {"b": Doubled()}}


def _of_a_baseline():
    @dataclass(frozen=True)
    class Guessed(scg.Constant):
        """A baseline of the user's."""

    return _model(), {"strategy": {"b": scg.ScoreFunction(Guessed())}}


def _of_a_call():
    g = scg.Graph("g")
    g.cost("c", g.call(numba.njit(_own_log_prob), g.param("t"), 0.5))
    return g, {"wrt": ()}


USERS = [_of_a_call, _of_an_op, _of_a_family, _of_a_subclass, _of_an_estimator, _of_a_baseline]


@pytest.mark.parametrize("make", USERS)
def test_nothing_is_kept_of_what_users_define(make, registry):
    with patch.dict(OPS):
        g, options = make()
        assert _key(g, **options) is None
        scg.compile(g, **options)
        assert not is_found(scg.compile(g, **options))


def test_nor_of_second_derivatives_or_without_a_compiler():
    assert _key(_model(), order=2) is None
    for options in ({"order": 2}, {"backend": "numpy"}):
        scg.compile(_checked(), **options)
        assert not is_found(scg.compile(_checked(), **options))


def test_starting_values_are_read_off_the_graph():
    def graph(init):
        g = scg.Graph("g")
        g.cost("c", g.param("t", init=init) ** 2)
        return g

    scg.compile(graph(1.0))
    f = scg.compile(graph(lambda rng, shape: rng.normal()))
    assert is_found(f) and f.init(0)["t"] != 1.0
    brought = [scg.compile(_learned()), scg.compile(_learned())]
    assert is_found(brought[1]) and len(brought[1].init(0)) > 1
    assert {n: x.tobytes() for n, x in brought[0].init(0).items()} == \
        {n: x.tobytes() for n, x in brought[1].init(0).items()}


def _learned() -> scg.Graph:
    g = scg.Graph("g")
    x = g.data("x", 2)
    b = g.sample("b", scg.Bernoulli(logits=g.param("t", init=0.1) * x),
                 estimator=scg.ScoreFunction(scg.Learned(scg.nn.dense(g, "baseline", x, 1).sum())))
    g.cost("c", (b - 0.3).sum() ** 2)
    return g


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: b"", lambda data: b"no pickle"])
def test_damage_costs_compilation(damage, store):
    scg.compile(_checked())
    (name,) = store
    store[name] = damage(store[name])
    assert not is_found(scg.compile(_checked())) and is_found(scg.compile(_checked()))
