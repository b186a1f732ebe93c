"""What stands for families that have no class: the advice of the error, followed, has the mean that the family has."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

import scg
from scg.other_families import _WRITTEN

EULER = 0.5772156649015329
# what is averaged, at which parameters, and its mean as a formula of these
MEANS = {
    "LogNormal": (lambda x: x, {"m": 0.2, "s": 0.5}, lambda m, s: math.exp(m + 0.5 * s**2)),
    "LogitNormal": (lambda x: np.log(x) - np.log1p(-x), {"m": 0.2, "s": 0.5}, lambda m, s: m),
    "HalfNormal": (lambda x: x, {"s": 0.7}, lambda s: s * math.sqrt(2.0 / math.pi)),
    "HalfCauchy": (lambda x: x / (1.0 + x**2), {"s": 0.7}, lambda s: 2.0 * s * math.log(s) / math.pi / (s**2 - 1.0)),
    "Triangular": (lambda x: x**2, {"m": 0.3, "s": 0.7}, lambda m, s: m**2 + s**2 / 6.0),
    "Laplace": (lambda x: x**2, {"m": 0.3, "s": 0.7}, lambda m, s: m**2 + 2.0 * s**2),
    "Logistic": (lambda x: x**2, {"m": 0.3, "s": 0.7}, lambda m, s: m**2 + (s * math.pi) ** 2 / 3.0),
    "Gumbel": (lambda x: x, {"m": 0.3, "s": 0.7}, lambda m, s: m + EULER * s),
    "Weibull": (lambda x: x, {"k": 1.5, "s": 0.7}, lambda k, s: s * math.gamma(1.0 + 1.0 / k)),
    "Rayleigh": (lambda x: x, {"s": 0.7}, lambda s: s * math.sqrt(0.5 * math.pi)),
    "Pareto": (lambda x: x, {"a": 6.0, "m": 0.7}, lambda a, m: a * m / (a - 1.0)),
    "Cauchy": (np.cos, {"m": 0.3, "s": 0.7}, lambda m, s: math.exp(-s) * math.cos(m)),
    "Erlang": (lambda x: x, {"k": 3.0, "rate": 2.0}, lambda k, rate: k / rate),
    "ChiSquared": (lambda x: x, {"k": 3.0}, lambda k: k),
    "InverseGamma": (lambda x: x, {"a": 7.0, "b": 2.0}, lambda a, b: b / (a - 1.0)),
    "Binomial": (lambda x: x**2, {"n": 5, "p": 0.3}, lambda n, p: n * p * (1.0 - p) + (n * p) ** 2),
    "Multinomial": (lambda x: x @ np.array([1.0, 3.0]), {"n": 5, "p": 0.3}, lambda n, p: n * (p + 3.0 * (1.0 - p))),
    "Geometric": (lambda x: x, {"p": 0.4}, lambda p: (1.0 - p) / p),
    "NegativeBinomial": (lambda x: x, {"r": 3.0, "p": 0.4}, lambda r, p: r * (1.0 - p) / p),
    "DiscreteUniform": (lambda x: x**2, {"n": 4}, lambda n: (n - 1.0) * (2.0 * n - 1.0) / 6.0),
    "Rademacher": (lambda x: x, {"p": 0.4}, lambda p: 2.0 * p - 1.0),
}


def advised(name: str) -> tuple[str, str]:
    """What the error calls the family, and what it says is a draw of it."""
    with pytest.raises(scg.UnknownAttribute) as caught:
        getattr(scg, name)
    problem = caught.value.problems[0]
    assert problem.where.startswith("test_other_families.py") and problem.why == "scg has no such family."
    call, draw = re.fullmatch(r"A draw of (\w+\(.*?\)).* is ((?:g\.|abs|np\.|m \+|2\.0).*)\.", problem.fix).groups()
    return call, draw


@pytest.mark.parametrize("name", [call.split("(")[0] for call in _WRITTEN])
def test_a_draw_of_another_family(name):
    of, values, mean = MEANS[name]
    call, draw = advised(name)
    assert call == f"{name}({', '.join(values)})"
    g = scg.Graph("other")
    params = {v: g.param(v) for v in values if v != "n"}
    given = {**{v: n for v, n in values.items() if v == "n"}, **params}
    if name == "Multinomial":
        given["p"] = scg.stack([given["p"], 1.0 - given["p"]])
    g.cost("c", of(eval(draw, {"g": g, "scg": scg, "np": np, **given})))
    at = {v: values[v] for v in params}
    r = scg.compile(g, backend="numpy")(at, samples=4000, rng=0)
    assert abs(r.cost - mean(**values)) <= 5.0 * r.cost_stderr + 1e-12
    for v in params:
        step = {**values, v: values[v] + 1e-6}, {**values, v: values[v] - 1e-6}
        slope = (mean(**step[0]) - mean(**step[1])) / 2e-6
        assert abs(r.grad[v] - slope) <= 5.0 * r.stderr[v] + 1e-8, v


def test_the_page_has_the_same_words():
    page = (Path(scg.__file__).parents[1] / "docs" / "writing-graphs.md").read_text()
    for call, draw in _WRITTEN.items():
        assert re.search(rf"\| `{re.escape(call)}`.* \| `{re.escape(draw)}` \|", page), call


def test_names_are_known_as_they_are_elsewhere():
    assert advised("Lognormal") == advised("LogNormal") == advised("log_normal")
    assert advised("Chi2") == advised("ChiSquared")
    for unknown in ("Wishart", "VonMises"):
        with pytest.raises(scg.UnknownAttribute, match=r"has no such name.*families: Bernoulli.*scg\.Custom\("):
            getattr(scg, unknown)
