"""Names under which nodes are shown: whatever users call them, no two look alike, in sympy, LaTeX or text."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import scg
from scg.export.names import Names, names_of

ALIKE = ["a b", "a_b", "a  b", "a.b", "a-b", "E", "e", "I", "pi", "log sigma", "log_sigma", "epsilon_z", "u_z", "x1",
         "x_1", "x 1", "x[1]", "theta", "\N{GREEK SMALL LETTER THETA}", "h'", "carry_0", "a_b_", "\\pi", "lambda",
         "exp", "e'"]


def test_no_two_names_look_alike():
    g = scg.Graph()
    for name in ALIKE:
        g.param(name)
    names = Names(g)
    for shown in ([names.given(n) for n in ALIKE], [names.latex(names.given(n)) for n in ALIKE],
                  [names.text(names.given(n)) for n in ALIKE]):
        assert len(set(shown)) == len(ALIKE)
    assert [names.text(names.given(n)) for n in ALIKE] == ALIKE


def test_names_in_latex():
    g = scg.Graph()
    found = {"theta": r"\theta", "log sigma": r"\mathrm{log\ sigma}", "x1": "x_{1}", "loss": r"\mathrm{loss}",
             "h[3]": "h_{3}", "log_sigma": r"\mathrm{log\_sigma}", "e": r"\mathrm{e}", "a b": r"\mathrm{a\ b}"}
    names = Names(g)
    for name in found:
        g.param(name)
    assert {name: names.latex(names.given(name)) for name in found} == found


def _noisy(noise: str, z: str = "z") -> scg.Surrogate:
    g = scg.Graph()
    p = g.param(noise)
    draw = g.sample(z, scg.Normal(loc=p, scale=1.0), estimator=scg.Pathwise())
    again = g.sample("k", scg.Bernoulli(logits=p * draw), estimator=scg.LocalExpectation())
    g.cost("c", draw * p + again * draw)
    return g.surrogate()


@pytest.mark.parametrize("noise, z", [("epsilon_z", "z"), ("epsilon z", "z"), ("epsilon_my_z", "my z"), ("z'", "z")])
def test_a_param_beside_noise_of_its_name(noise, z):
    s = _noisy(noise, z)
    for text in (s.latex(), s.latex(expand=True)):
        assert text
    names = names_of(s.derivation)
    symbols = {str(x) for x in s.sympy(expand=True).free_symbols}
    assert len({names.latex(n) for n in symbols}) == len(symbols) >= 3


def test_all_views_have_one_table():
    s = _noisy("t")
    long, short = ({x.name for x in s.sympy(expand).free_symbols} for expand in (True, False))
    assert short == long == {"t", "epsilon_z", "k"} and s.symbols.keys() == long


@pytest.mark.parametrize("first, second", [("b 1", "b_1"), ("b_1", "b 1")])
def test_sites_with_spaces(first, second):
    g = scg.Graph()
    t = g.param("t")
    g.cost("the cost", g.sample(first, scg.Bernoulli(logits=t)) * 2.0 + g.sample(second, scg.Bernoulli(logits=t)) * t)
    s = g.surrogate(scg.ScoreFunction())
    assert s.symbols["b_1"] == sympy.Symbol("b_1", **s.symbols["b_1"].assumptions0)
    assert str(s.symbols["b 1"]) == "b_1_" and " " not in str(s.sympy()).replace(" + ", "").replace(" - ", "")


@pytest.mark.parametrize("letter", ["B", "Y", "weight"])
def test_words_of_an_estimators_own_give_way_too(letter):
    g = scg.Graph()
    g.param(letter)
    names = Names(g)
    for found, asked in ((names.worded(f"{letter}(@)"), f"{letter}(@)"),
                         (names.worded_in_latex(rf"{letter}_{{@[]}}"), rf"{letter}_{{@[]}}")):
        assert found != asked and found.endswith(asked[len(letter):])
    assert Names(scg.Graph()).worded(f"{letter}(@)") == f"{letter}(@)"


def test_a_draw_outside_of_a_loop_has_no_step():
    g = scg.Graph()
    outer = g.sample("outer", scg.Bernoulli(logits=g.param("w", 2)))

    def step(carry, _):
        inner = g.sample("inner", scg.Bernoulli(logits=outer[0] - carry))
        g.cost("c", inner * outer[1])
        return inner, inner

    g.scan(step, 0.0, length=2)
    assert "c[t] = inner[t] * outer[1]" in str(g)
    assert "inner[t] ~ Bernoulli(logits=outer[0] - inner[t-1])" in str(g.surrogate())


def test_numbers_that_a_step_names_have_no_step():
    g = scg.Graph()
    w = g.param("w", 2)

    def step(carry, _):
        table = g.node("P", np.array([[0.3, 0.7], [0.6, 0.4]]))
        k = g.sample("k", scg.Categorical(logits=w * table[carry]))
        g.cost("c", table[k, 0])
        return k, None

    g.scan(step, 0, length=2)
    s = g.surrogate()
    assert "c[t] = P[k[t]][0]" in str(g) and "P = [[0.3, 0.7], [0.6, 0.4]]" in str(s)
    assert "P_{k_{t},0}" in s.latex() and "P &= [[0.3, 0.7], [0.6, 0.4]]" in s.latex()
