"""Whatever is called wrongly gets this package's error, at the line of whoever called it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import scg

HEAD = """import copy, math, random, statistics
import numpy as np
import scg
from functools import partial, reduce
g = scg.Graph("toy")
t, m, x = g.param("t"), g.param("m", (2, 2)), g.data("x")
b = g.sample("b", scg.Bernoulli(logits=t))
v = g.param("v", 3)
g.cost("c", (b - 0.45) ** 2 + m.sum() * x + v.sum())
d = scg.Normal(loc=t, scale=1.0)
f = scg.compile(g, backend="numpy")
values = {"t": 0.3, "m": np.ones((2, 2)), "x": [1.0], "v": np.ones(3)}
r = f(values)
class Tensor:
    requires_grad = True
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
class Frame:
    def apply(self, f):
        return f(1.0)
"""

MISUSES = {
    'f(mu=0.3)': 'mu',
    'f()': 'It is missing',
    'f(values, 100)': 'samples',
    'f(values, sample=3)': 'samples',
    'f(0.3)': 'dict',
    'f([0.3])': 'dict',
    "f({'t': {'a': 1}})": '"t"',
    "f({**values, 't': Tensor()})": 'detach',
    "f(values, rng='a')": 'rng',
    'f(values, rng=np.random)': 'rng',
    "f(values, samples='3')": 'samples',
    'f(values, state=3)': 'state',
    'f(values, executor=3)': 'executor',
    'f(values, record=3)': 'record',
    "f(values, record='nobody')": 'nobody',
    'f({**values, t: 3})': 'no such leaf',
    'f(values, samples=0)': 'samples',
    "f({**values, 't': b})": '"t"',
    "g.param('n', 3, init=lambda rng: rng.normal(size=3))": 'Param "n".*rng, shape',
    "g.param('n', 3, init=lambda: 0.3)": 'Param "n".*rng, shape',
    'scg.REBAR(temperature=-1.0)': 'divides the noise',
    'scg.REBAR(temperature=0.0)': 'divides the noise',
    'scg.REBAR(temperature=np.nan)': 'divides the noise',
    "scg.REBAR(temperature='a')": 'divides the noise',
    'scg.REBAR(eta=np.nan)': 'multiplies the control variate',
    "scg.REBAR(eta='a')": 'multiplies the control variate',
    'scg.GumbelSoftmax(straight_through=3)': 'True or False',
    'scg.GumbelRao(k=0)': 'whole number from 1',
    'scg.GumbelRao(temperature=-1.0)': 'divides the noise',
    'scg.ReinMax(temperature=0.0)': 'divides the noise',
    'r.gradient': 'r.grad',
    'r.gradients': 'r.grad',
    'r.loss': 'r.cost',
    'r.std': 'r.stderr',
    'r.value': 'r.cost',
    'r.verdict': 'They have|It has',
    'f.grad': 'f\\(values\\)',
    'f.verify': 'scg.verify',
    "f.verdict['q']": 'no site',
    'g.sample(scg.Bernoulli(logits=t))': 'name',
    "g.sample('q')": 'dist',
    'g.cost(t)': 'name',
    "g.cost('q')": 'node',
    'g.node(t)': 'name',
    "g.node('q')": 'node',
    'g.param()': 'name',
    "g.param('q', 'a')": 'shape',
    "g.sample('q', scg.Bernoulli)": 'distribution',
    "g.sample('q', scg.Bernoulli(logits=t), estimator=scg.Pathwise)": 'estimator',
    'scg.Bernoulli(logits=t).sample()': 'g.sample',
    'scg.Normal(loc=t, scale=1.0).rsample()': 'g.sample',
    'scg.Normal(t)': r"missing.*'scale'.*Call it as Normal\(loc, scale\)",
    'scg.Normal(t, 1.0, 2.0)': r'too many positional.*Call it as Normal\(loc, scale\)',
    'scg.Normal(t, loc=1.0)': r"multiple values for argument 'loc'.*Call it as Normal\(loc, scale\)",
    'scg.Normal(t, 1.0, sigma=2.0)': r"'sigma'.*Call it as Normal\(loc, scale\)",
    'scg.Normal(mu=t, sigma=1.0)': r'Call it as Normal\(loc, scale\)',
    'scg.Bernoulli(0.3)': r'too many positional.*Call it as Bernoulli\(probs=…\) or Bernoulli\(logits=…\)',
    'scg.Bernoulli()': r'no parameters.*Call it as Bernoulli\(probs=…\)',
    'scg.Bernoulli(probs=0.3, logits=t)': r'given probs, logits.*Call it as Bernoulli\(probs=…\)',
    'scg.MultivariateNormal([t, t])': r'given loc\..*Call it as MultivariateNormal\(loc, scale_diag=…\) or',
    'scg.Mixture(probs=[1.0])': r"'components'.*Call it as Mixture\(components, \*, probs=None, logits=None\)",
    'scg.Custom()': r"'parameters'.*Call it as Custom\(parameters, \*, log_prob=None",
    "g.parameter('q')": 'param',
    'g.compile()': 'scg.compile',
    'scg.compile(f)': 'Graph',
    'scg.compile(g, strategy=scg.ScoreFunction)': 'strategy',
    'scg.compile(g, strategy=3)': 'strategy',
    "scg.compile(g, strategy={'b': scg.ScoreFunction})": '',
    "scg.compile(g, strategy={'q': scg.Pathwise()})": 'q',
    "scg.compile(g, wrt='q')": 'q',
    'scg.compile(g, wrt=3)': '',
    'scg.compile(g, wrt=t)': 'wrt="t"',
    'scg.compile(g, wrt=[t])': 'wrt="t"',
    'scg.compile(g, wrt=2.0 * t)': 'g.node',
    'f(values, record=b)': 'name',
    'f.foo': 'verdict',
    'scg.exact(f, values)': 'Graph',
    'scg.exact(g, 3)': '',
    'scg.verify(g, values)': 'compiled',
    'scg.verify(f, 3)': '',
    'f.export(3)': 'export',
    "f.export('m.py', True)": r'Call it as EstimatorFunction.export\(path',
    "f.export('m.py', overwite=True)": 'overwite',
    "f.export('m.py', record='nobody')": 'nobody',
    'g.surrogate(scg.Pathwise)': '',
    'scg.ScoreFunction(lr=1)': 'lr',
    'scg.ScoreFunction(baseline=3)': 'baseline',
    "scg.LeaveOneOut(group='a')": 'group',
    "scg.Enumerate(upto='a')": 'upto',
    'math.exp(t)': 'number',
    'np.random.default_rng(0).normal(t)': '',
    'float(t)': 'number',
    'if t > 0: pass': 'scg.where',
    'max(t, b)': 'np.maximum',
    "round(t, 'a')": '',
    'range(t)': 'whole number',
    '[1, 2][t]': 'scg.take',
    'np.array([t, b])': 'scg.stack',
    'v[v > 0]': 'scg.where',
    't + Tensor()': '',
    "t + 'a'": 'real numbers',
    't.detach()': 'stop_gradient',
    'reduce(lambda a, c: a.q, [t, b])': 'q',
    'np.linalg.inv(m)': 'np.linalg.inv',
    'np.linalg.det(m)': 'np.linalg.det',
    'np.fft.fft(v)': 'np.fft',
    'np.sort(v)': 'np.sort',
    'np.argmax(v)': 'np.argmax',
    'np.median(v)': 'np.median',
    'np.linalg.solve(m, m)': 'np.linalg.solve',
    'np.interp(t, [0, 1], [0, 1])': 'scg.where|interp',
    'np.unique(v)': 'np.unique',
    "np.einsum('ij,jk,kl->il', m, m, m)": '@',
    'np.histogram(v)': 'np.histogram',
    'np.cross(v, v)': 'np.cross',
    'np.sinc(v)': 'np.sin',
    'np.argsort(v)': 'np.argsort',
    'np.exp(v, out=np.zeros(3))': 'out',
    'np.heaviside(t, 0.5)': 'scg.where',
    'np.arctan2(t, t)': 'np.arctan2',
    'np.linalg.norm(v)': 'np.sqrt',
    'np.vstack([v, v])': 'np.stack',
    'np.hstack([v, v])': 'np.concatenate',
    'np.roll(v, 1)': 'np.concatenate',
    'np.tile(v, 2)': 'np.concatenate',
    'scg.exp()': r'Call it as scg.exp\(x\)',
    'scg.log(t, 2)': r'scg.log\(x\)',
    'scg.where(t > 0, 1)': r'scg.where\(condition, a, b\)',
    'scg.stack()': r'scg.stack\(nodes, axis=0\)',
    'scg.take(v)': r'scg.take\(array, indices, axis=0\)',
    'scg.one_hot(b)': 'size',
    'scg.power(t)': r'scg.power\(a, b',
    'scg.maximum(t)': r'scg.maximum\(a, b\)',
    'scg.relu(t, alpha=0.1)': 'alpha',
    'scg.stop_gradient()': r'scg.stop_gradient\(node\)',
    'scg.outer(v)': r'scg.outer\(a, b\)',
    'scg.logsumexp()': 'scg.logsumexp',
    'scg.kl_divergence(scg.Normal(loc=t, scale=1.0))': r'scg.kl_divergence\(p, q\)',
    'scg.Bernoulli(probs=0.5).log_prob()': r'Bernoulli.log_prob\(value\)',
    'scg.Bernoulli(logits=t).entropy(2)': r'Bernoulli.entropy\(\)',
    'scg.Bernoulli(probs=0.5).mean()': r'mean and variance',
    't()': 'not a function',
    'v.dot()': 'np.dot',
    'g.scan(t, 0.0, length=2)': 'function',
    "scg.Graph('a', 'b')": r'Graph\(name=',
    "scg.Graph('a', seed=3)": r'Graph\(name=',
    'scg.exact(g)': 'values',
    'scg.Kumaraswamy(1, 2)': 'families: Bernoulli.*adding-a-distribution',
    'scg.Binomial': r'A draw of Binomial\(n, p\) is g\.sample',
    'scg.gammaln(t)': r'Use scg\.lgamma\.',
    'scg.gamma_inc(t)': 'functions: .*lgamma',
    "r['t']": r'r.grad\[',
    "f['t']": r'f\(values\)',
    'list(r)': 'r.grad',
    "r.grad['q']": 'It has: t, m, v',
    "r.stderr['q']": 'params',
    "r.costs['q']": 'It has: c',
    "r.state['q']": 'nothing',
    "r.record['b']": r'record=\("b",\)',
    'f.verdict.b': 'unbiased',
    **{text: f"distribution.*was {use}.*g.sample" for use, texts in {
        "used in arithmetic": ("d + 1", "1 - d", "-d", "abs(d)", "d ** 2", "2.0 @ d", "d % 2", "round(d)", "~d",
                               "sum([d, d])", "d // 2.0", "math.floor(d)", "divmod(d, 2)", "d & True", "d += 1",
                               "d - t"),
        "compared": ("d > 0", "d == 1", "d != d", "max(d, 0)", "sorted([d, d])", "1.0 <= d"),
        "used as a truth value": ("if d: pass", "not d", "d and t"),
        "converted to a number": ("float(d)", "int(d)", "math.exp(d)"),
        "used as a whole number": ("range(d)", "[1, 2][d]"),
        "indexed": ("d[0]", "d[0] = 1.0", "del d[0]"),
        "used as a sequence": ("len(d)", "list(d)", "1 in d", "a, c = d", "reversed(d)"),
        "called": ("d()",),
        "given to a function of NumPy": ("np.exp(d)", "np.ones(3) + d", "np.float64(1.0) * d", "np.mean(d)",
                                         "np.stack([d, d])", "np.where(d, 1.0, 0.0)", "np.add.reduce(d)",
                                         "np.exp(d, out=np.zeros(3))"),
        "used as a number or an array": ("scg.exp(d)", "np.array([d, d])", "np.asarray(d)", "t * d", "t < d",
                                         "scg.where(t > 0, d, 0.0)", "scg.stack([d, t])", "g.cost('q', d)",
                                         "g.node('q', d)", "scg.Normal(loc=d, scale=1.0)", "d.log_prob(d)",
                                         "scg.stop_gradient(d)", "m @ d"),
    }.items() for text in texts},
}  # fmt: skip


def _error_of(text: str, tmp_path) -> tuple[Exception, str]:
    """The error of a misuse in a file of its own, and the place where it is."""
    file = tmp_path / "model.py"
    file.write_text(HEAD + "\n" + text + "\n")
    with pytest.raises(Exception) as caught:
        exec(compile(file.read_text(), str(file), "exec"), {"__name__": "model"})
    return caught.value, f"model.py:{len((HEAD + chr(10)).splitlines()) + 1}"


@pytest.mark.parametrize("text", MISUSES)
def test_misuse(text, tmp_path):
    error, place = _error_of(text, tmp_path)
    assert isinstance(error, scg.SCGError), repr(error)
    assert str(error).startswith(place), str(error)
    assert re.search(MISUSES[text], str(error)), str(error)
    assert all(p.what and p.why and p.fix for p in error.problems)


def test_results_are_dicts():
    """What they hold is asked for as dicts are, and goes where dicts go."""
    import copy
    import json
    import pickle

    g = scg.Graph("toy")
    t = g.param("t")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=t)) * t)
    r = scg.compile(g, backend="numpy")({"t": 0.3}, samples=4, rng=0, record="b")
    for found, name in ((r.grad, "t"), (r.stderr, "t"), (r.costs, "c"), (r.record, "b")):
        assert isinstance(found, dict) and list(found) == [name] and found.get("q") is None and "q" not in found
        assert found == dict(found) == copy.copy(found) == {**found} and repr(found) == repr(dict(found))
        again = pickle.loads(pickle.dumps(found))
        assert type(again) is type(found) and again.keys() == found.keys()
        with pytest.raises(KeyError, match="It has: " + name):
            again["q"]
    assert json.loads(json.dumps(r.costs)) == r.costs


def test_every_public_function_says_its_signature():
    from scg.functions import FUNCTIONS

    assert len(FUNCTIONS) > 30 and set(FUNCTIONS) <= set(vars(scg))
    for name in FUNCTIONS:
        with pytest.raises(scg.SCGError, match=f"test_misuse.*scg.{name}.* was called.*Call it as scg.{name}"):
            getattr(scg, name)(nobody=3)


def test_there_are_many():
    assert len(MISUSES) >= 60


def _installed(tmp_path, text: str):
    """A function that is called from an installed package."""
    file = tmp_path / "site-packages" / "frames.py"
    scope: dict = {"__name__": "frames"}
    exec(compile(text, str(file), "exec"), scope)
    return scope["apply"]


def test_installed_packages_between_are_skipped(tmp_path):
    """As where pandas or SciPy call a function of the user's: the line is the user's, not theirs."""
    apply = _installed(tmp_path, "def apply(f, *args):\n    return f(*args)\n")
    g = scg.Graph("toy")
    with pytest.raises(scg.SCGError, match=r"^test_misuse.py:\d+"):
        apply(g.sample, "q", 3)
    with pytest.raises(scg.SCGError, match=r"^test_misuse.py:\d+.*parameter"):
        apply(getattr, g, "parameter")


def _ran_by(scope: dict, file: str):
    exec(compile("def apply(f, *args):\n    return f(*args)\n", file, "exec"), scope)
    return scope["apply"]


def test_code_that_a_library_makes_of_text_is_passed_over(tmp_path):
    """As SciPy's distributions and namedtuples: text without a file, of a module that is installed or of none."""
    g = scg.Graph("toy")
    for apply in (_ran_by({}, "<string>"), _ran_by({"__name__": "numpy.linalg"}, "<generated>"),
                  _ran_by({"__name__": "frames"}, "/usr/lib/python3/dist-packages/frames/core.py")):
        with pytest.raises(scg.SCGError, match=r"^test_misuse.py:\d+"):
            apply(g.sample, "q", 3)
    with pytest.raises(scg.SCGError, match=r"^<cell 3>:2"):  # a notebook's cell is the user's
        _ran_by({"__name__": "__main__"}, "<cell 3>")(g.sample, "q", 3)


def test_packages_that_pip_put_into_another_folder_are_passed_over(tmp_path):
    """It writes down what it has installed there; the user's own modules in that folder are the user's."""
    record = tmp_path / "frames-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("frames/core.py,sha256=x,1\nframes/__init__.py,,\nalone.py,,\nframes-1.0.dist-info/RECORD,,\n")
    g = scg.Graph("toy")
    for module, file in (("frames.core", "frames/core.py"), ("frames", "frames/__init__.py"), ("alone", "alone.py")):
        with pytest.raises(scg.SCGError, match=r"^test_misuse.py:\d+"):
            _ran_by({"__name__": module}, str(tmp_path / file))(g.sample, "q", 3)
    with pytest.raises(scg.SCGError, match=r"^model.py:2"):
        _ran_by({"__name__": "model"}, str(tmp_path / "model.py"))(g.sample, "q", 3)


def test_scipys_functions_have_answers():
    special = pytest.importorskip("scipy.special")
    x = scg.Graph("toy").param("x")
    for name, answer in (("expit", "scg.sigmoid"), ("gammaln", "scg.lgamma"), ("psi", "scg.digamma"),
                         ("erf", "scg.erf"), ("ndtr", "scg.ndtr"), ("log_expit", "scg.softplus")):
        with pytest.raises(scg.NodeUseError, match=rf"scipy.special.{name} was called on a node.*{answer}"):
            getattr(special, name)(x)
    with pytest.raises(scg.NodeUseError, match="The ufunc ellipkm1 was called on a node"):
        special.ellipkm1(x)
    with pytest.raises(scg.NodeUseError, match=r"np.arctan was called on a node"):
        np.arctan(x)


def test_a_package_of_the_users_own_that_is_installed_is_named(tmp_path):
    """If nobody but installed packages and Python's own library is on the stack."""
    import threading

    apply = _installed(tmp_path, "def apply(g, found):\n    try:\n        g.sample('q', 3)\n"
                                 "    except Exception as error:\n        found.append(error)\n")
    found: list = []
    thread = threading.Thread(target=apply, args=(scg.Graph("toy"), found))
    thread.start()
    thread.join()
    assert str(found[0]).startswith("frames.py:3")


def test_one_sample_is_seen():
    g = scg.Graph("toy")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=g.param("t"))))
    f = scg.compile(g, backend="numpy")
    assert "samples=" in repr(f({"t": 0.3})) and "samples=" not in repr(f({"t": 0.3}, samples=2))


def test_pickles_and_copies_still_work():
    import copy
    import pickle

    g = scg.Graph("toy")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=g.param("t"))))
    f = scg.compile(g, backend="numpy", strategy=scg.ScoreFunction(baseline=scg.LeaveOneOut(group=2)))
    r = f({"t": 0.3}, samples=4, rng=0)
    assert copy.copy(r).cost == pickle.loads(pickle.dumps(r)).cost == r.cost
    assert copy.deepcopy(scg.ScoreFunction(baseline=scg.LeaveOneOut(group=2))) == scg.ScoreFunction(
        baseline=scg.LeaveOneOut(group=2))


def test_of_what_is_missing_it_is_said_where_to_begin():
    """Nobody would guess that a temperature is learned as its logarithm."""
    g = scg.Graph("learned")
    start, p = g.param("start", init=0.2), g.param("p")
    b = g.sample("b", scg.Bernoulli(logits=start + p))
    g.cost("c", (b - 0.4) ** 2)
    f = scg.compile(g, strategy=scg.REBAR(), backend="numpy")
    for lacking, values in (('"start", "b log temperature" and "b eta"', {"p": 0.1}),
                            ('"b log temperature" and "b eta"', {"start": 0.1, "p": 0.1}),
                            ('"start"', {**f.init(0), "p": 0.1, "start": None})):
        values = {name: value for name, value in values.items() if value is not None}
        with pytest.raises(scg.CallError) as caught:
            f(values, samples=3)
        assert str(caught.value).endswith(f"f.init(rng) has {lacking} to begin with: f({{**f.init(0), **values}}).")
        f({**f.init(0), **values}, samples=3)
    with pytest.raises(scg.CallError) as caught:
        f({**f.init(0), "p": np.inf}, samples=3)
    assert "f.init" not in str(caught.value)
    with pytest.raises(scg.CallError) as caught:
        f(f.init(0), samples=3)
    assert '"p" cannot be used' in str(caught.value) and "f.init" not in str(caught.value)
