"""Pages of every estimator: what is learned has its real name, what is indexed is explained with its indices.

Pages are those of small graphs, one or two for each estimator: text, LaTeX and the reasons that `explain` gives.
"""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from pictured import DRAWN, SMALL
from problems import PROBLEMS

import scg
from scg.export.latex_names import escaped
from scg.ops.scan import of_step, stacked


def _normal() -> scg.Graph:
    g = scg.Graph("normal")
    x = g.sample("x", scg.Normal(g.param("mu"), np.exp(g.param("s"))))
    g.cost("loss", np.cos(x) + x**2)
    return g


def _one_hot() -> scg.Graph:
    g = scg.Graph("one hot")
    k = g.sample("k", scg.OneHotCategorical(logits=g.param("w", 3)))
    g.cost("loss", (k @ np.array([0.3, 1.0, -0.5]) - 0.2) ** 2)
    return g


def _parts() -> scg.Graph:
    g = scg.Graph("parts")
    n = g.sample("n", scg.Bernoulli(logits=g.param("a", 2)))
    g.cost("F", ((n - 0.3) ** 2 * np.array([1.0, 10.0])).sum())
    return g


def _negative() -> scg.Graph:
    g = scg.Graph("negative")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    c = g.sample("c", scg.Bernoulli(logits=0.4 * b))
    g.cost("loss", -1.0 - b * c)
    return g


def _rows() -> scg.Graph:
    g = scg.Graph("rows")
    x = g.data("x")
    z = g.sample("z", scg.Bernoulli(logits=g.param("a") * x))
    g.cost("loss", (z - x) ** 2)
    return g


def _learned(g: scg.Graph) -> scg.ScoreFunction:
    return scg.ScoreFunction(scg.Learned(g.param("v") * g.rows["x"], centre=True, scale=True))


GRAPHS = {"rows": _rows, **SMALL, "normal": _normal, "one hot": _one_hot, "negative": _negative, "loop": DRAWN["loop"],
          "parts": _parts}
PAGES = {
    "lax": ("normal", scg.LAX()), "relax": ("pair", scg.RELAX()), "rebar": ("layers", scg.REBAR()),
    "delta": ("normal", scg.Delta()), "delta path": ("normal", scg.Delta(pathwise=True)),
    "double": ("pair", scg.DoubleCV()), "rodeo": ("pair", scg.RODEO()), "arms": ("pair", scg.ARMS(n=3)),
    "carms": ("choice", scg.CARMS()), "set": ("choice", scg.WithoutReplacement(3)),
    "sum": ("choice", scg.SumAndSample(2)), "triple": ("pair", scg.StochasticTriple()),
    "psa": ("layers", scg.PSA()), "mean": ("layers", scg.MeanPropagation()), "critic": ("layers", scg.GradientCritic()),
    "rao": ("one hot", scg.GumbelRao(k=3)), "gumbel": ("one hot", scg.GumbelSoftmax()),
    "reinmax": ("one hot", scg.ReinMax()), "half": ("layers", scg.Half()), "through": ("layers", scg.StraightThrough()),
    "bound": ("negative", scg.UpperBound()), "spsa": ("layers", scg.SPSA()), "muprop": ("layers", scg.MuProp()),
    "average": ("pair", scg.ScoreFunction(scg.MovingAverage())), "optimal": ("pair", scg.ScoreFunction(scg.Optimal())),
    "weak": ("choice", scg.WeakDerivative()), "weak normal": ("normal", scg.WeakDerivative()),
    "local": ("choice", scg.LocalExpectation()), "disarm": ("layers", scg.DisARM()),
    "loop": ("loop", None), "loop arms": ("loop", scg.ARMS(n=3)), "loop triple": ("loop", scg.StochasticTriple()),
    "parts disarm": ("parts", scg.DisARM()), "parts triple": ("parts", scg.StochasticTriple()),
    "loop set": ("loop", scg.WithoutReplacement(2)), "loop arm": ("loop", scg.ARM())}  # fmt: skip
text_of, latex_of = functools.cache(str), functools.cache(scg.Surrogate.latex)


@functools.cache
def made(name: str) -> scg.Surrogate:
    """What is shown under that name."""
    if name == "learned":
        g = _rows()
        return g.surrogate(_learned(g))
    graph, strategy = PAGES[name]
    return GRAPHS[graph]().surrogate(strategy)


@pytest.fixture
def s(request) -> scg.Surrogate:
    return made(request.param)


every_page = pytest.mark.parametrize("s", [*PAGES, "learned"], indirect=True)


@every_page
def test_what_is_brought_has_its_real_name(s):
    """Params and states that values, gradients and states are asked for by; none stands bare in a formula."""
    draft = s.derivation.draft
    objectives = {word for o in draft.objectives for word in o.name.split()}
    for name in [*(p.name for p in draft.params), *(state.name for state in draft.states)]:
        text, latex = text_of(s), latex_of(s)
        assert f'"{name}"' in text and name not in re.sub('"[^"]*"', "", text), text
        shown = escaped(name).replace(r"\ ", " ")
        assert f"``{shown}''" in latex and escaped(name) not in re.sub("``.*?''", "", latex), latex
    assert objectives <= {word for name in re.findall(r'"([^"]*)"', text_of(s)) for word in name.split()}


@every_page
def test_nothing_is_stopped_twice(s):
    for page, stop in ((text_of(s), "⊥("), (latex_of(s), r"\bot\left(")):
        for line in page.split("\n"):
            for start in (m.end() for m in re.finditer(re.escape(stop), line)):
                depth, end = 1, start
                while depth and end < len(line):
                    depth += (line[end] == "(") - (line[end] == ")")
                    end += 1
                assert stop not in line[start:end], line


def _outside(line: str, stop: str) -> str:
    """What stands in no ⊥."""
    out, depth, at = "", 0, 0
    while at < len(line):
        if not depth and line.startswith(stop, at):
            depth, at = 1, at + len(stop)
            continue
        c = line[at]
        out += "" if depth else c
        depth += ((c == "(") - (c == ")")) * bool(depth)
        at += 1
    return out


@every_page
def test_what_an_algorithm_makes_of_probabilities_is_held(s):
    """Weights of coupled, of different and of moved draws, which the graph does not differentiate, stand within ⊥."""
    made = {m.name: of_step(m.node) if stacked(m.node) else m.node for m in s.derivation.draft.marks if m.name.meaning}
    weights = {name for name, n in made.items() if n.op.name == "stop_gradient" and n.attrs[:1] == ("number",)}
    for page, stop in ((text_of(s).partition("\nwhere")[0], "⊥("),
                       ("\n".join(latex_of(s).split(" \\\\\n")[:8]), r"\bot\left(")):
        for name in weights:
            head = re.split(r"[@<{(]", name.text if stop == "⊥(" else name.latex)[0]
            within = [line for line in page.split("\n") if line.lstrip("& ").startswith(("+", "L", r"\quad"))]
            assert not re.search(rf"(?<![A-Za-z\\]){re.escape(head)}[({{]", "\n".join(
                _outside(line, stop) for line in within)), page


@every_page
def test_explanations_have_the_indices_of_what_they_explain(s):
    """Weights stand on the left of their line with as many indices as in L."""
    lines = latex_of(s).partition("L")[2].split("\n")
    weight = r"(?<![A-Za-z\\])([RBr]|\\eta)_\{(\w(?:,\w)*)\}"
    heads = {m[1]: m[2].count(",") for line in lines if (m := re.match(f"{weight} &", line))}
    for letter, below in re.findall(weight, "\n".join(lines)):
        assert heads.get(letter) == below.count(","), (letter, below, latex_of(s))


@every_page
def test_no_page_has_places_that_were_not_filled_nor_what_latex_does_not_set(s):
    for page in (text_of(s), latex_of(s)):
        assert re.findall(r"<\w+>|\ue000", page) == [], page
    assert [c for c in latex_of(s) if not c.isascii()] == []
    assert re.findall(r"_\{[^{}]*\}(?:\^\{[^{}]*\})?_\{", latex_of(s)) == []  # a second subscript
    assert r"\gamma" not in latex_of(s)


@every_page
def test_sums_bind_what_their_weights_are_of(s):
    """What differs from one of several draws to another says of which it is."""
    text = text_of(s)
    for each in re.findall(r"for each (\w\*'?(?: and \w\*'?)*)\)", text):
        for name in re.findall(r"\b([BR]|r)\((?=\w)", text.partition("where")[0]):
            assert re.search(rf"\b{name}\(\w\*|\br\(b\)", text), (each, text)


@every_page
def test_reasons_speak_of_draws(s):
    reasons = [v.reason for v in s.derivation.verdicts.values()]
    assert [r for r in reasons if re.search(r"\bsamples?\b", r)] == []


@every_page
def test_who_speaks_of_replicates_says_once_what_they_are(s):
    for page in (text_of(s), latex_of(s), str(s.derivation.graph)):
        speaks = re.search(r"\breplicates?\b", page) is not None
        assert page.count("one run of the graph, with draws of its own") == speaks, page


def test_parents_in_loops_are_those_of_the_distribution():
    s = made("loop")
    text, latex = text_of(s), latex_of(s)
    given = re.search(r"log p\(move\[t\] \| ([^)]*)\)", text)[1].split(", ")
    law = re.search(r"move\[t\] ~ (.*)", text)[1]
    assert given == ["drift", "carry_0[t]", "carry_1[t]"] and all(name in law for name in given)
    assert r"\mid \mathrm{drift}, \mathrm{carry}_{0,n,t}, \mathrm{carry}_{1,n,t})" in latex
    assert r"\mathrm{effort}_{n,t}(\mathrm{carry}_{0,n,t})" in latex and r"(\mathrm{carry}_{0,n,10})" in latex


def test_the_listing_says_of_every_step_how_many_there_are():
    lines = [line for line in str(DRAWN["loop"]()).split("\n") if re.search(r"\[t[+\]]", line.partition("=")[0])]
    assert len(lines) >= 4 and all(line.endswith(", in 10 steps") for line in lines)


def test_credit_says_whose_draws_are_mixed():
    f = scg.compile(SMALL["layers"](), backend="numpy")
    assert "nll (whole: the matrix product mixes the elements of h1)" in f.explain()


@pytest.mark.parametrize("problem", ["gamma_rate", "beta_square"])
def test_functions_that_few_know_are_explained(problem):
    """Also in formulas for LaTeX, in which a constant of sympy's is no letter."""
    g = PROBLEMS[problem]().graph
    for strategy in (scg.WeakDerivative(), scg.Pathwise()):
        try:
            text, latex = str(g.surrogate(strategy)), g.surrogate(strategy).latex()
        except scg.EstimatorError:
            continue
        for name in ("gamma_slope", "implicit"):
            assert (f"{name}(" in text) == (re.search(rf"(?m)^  {name}\([\w, ]*\): ", text) is not None), text
        assert r"\gamma" not in latex and ("GammaSlope" in latex) == (r"\operatorname{GammaSlope}(a, t) &: " in latex)


@pytest.mark.parametrize("family, values", [
    (lambda g: scg.Gamma(np.exp(g.param("a")), 1.5), ()), (lambda g: scg.Beta(np.exp(g.param("a")), 1.5), ()),
    (lambda g: scg.Beta(1.5, np.exp(g.param("a"))), ()), (lambda g: scg.Dirichlet(np.exp(g.param("a", 3))), ()),
    (lambda g: scg.StudentT(np.exp(g.param("a")), 0.0, np.exp(g.param("s"))), ())])
def test_weak_derivatives_say_what_their_draws_are(family, values):
    """In words, where the draw is made by rejection: no name for what that gives stands in its place."""
    g = scg.Graph()
    x = g.sample("x", family(g))
    g.cost("loss", (x**2).sum())
    s = g.surrogate(scg.WeakDerivative())
    assert re.findall(r"draw_x|draw_until", text_of(s)) == [] and r"\mathrm{draw}" not in latex_of(s)
    assert len(re.findall(r"(?m)^  x\S*[⁺⁻]: ", text_of(s))) >= 2


# --- what stands below a site that is summed out ---------------------------------------------------------------------
def test_a_site_below_one_that_is_summed_out_is_weighed_by_the_cost_at_its_value():
    g = scg.Graph("below")
    q = g.param("q")
    a = g.sample("a", scg.Bernoulli(logits=q))
    b = g.sample("b", scg.Bernoulli(logits=q * a))
    g.cost("c", (b - 0.2) ** 2)
    s = g.surrogate({"a": scg.Enumerate(), "b": scg.ScoreFunction(scg.Constant(0.5))})
    assert "log p(b | q, a) * ⊥(c - 0.5) for each a in (0, 1))" in str(s)
    assert r"\hat{Q}_{b} &= c" in s.latex() and r"\sum_{a=0}^{1} \log p(b \mid q, a)\,\bot" in s.latex()
    assert "Bernoulli(logits=q * a), one for each value of a\n" in str(s)
    disarm = g.surrogate({"a": scg.Enumerate(), "b": scg.DisARM()})
    assert "log_odds(b | q, a) = q * a\n" in str(disarm) and "Q(b ← v): c where b is v" in str(disarm)
    assert r"&= a\,q" in disarm.latex() and r"_{b,a}" not in disarm.latex()


def test_paths_of_a_loop_have_products_of_probabilities():
    g = scg.Graph("paths")

    def step(carry, _):
        h = g.sample("h", scg.Bernoulli(logits=g.params["q"] * carry))
        g.cost("c", (h - carry) ** 2)
        return h, None

    g.param("q")
    g.scan(step, 0.5, length=3)
    assert "sum(prod(p(h[t] | q, h[t-1])) * sum(c) for all h)" in str(g.surrogate(scg.Enumerate()))


def test_derivatives_at_a_value_are_of_an_element_at_all_of_it():
    """All draws are relaxed at once, and a derivative is that in one of them; what is learned is a formula of any v."""
    text, latex = text_of(made("relax")), latex_of(made("relax"))
    for name in "Qc":
        slope = rf"{name}'_{{b_{{i}}}}(b \leftarrow "
        assert slope + "z_{b})" in latex and slope + "v) &: " in latex
        assert f"  {name}′(b ← v): the derivative in b of " in text
    assert "  c(b ← v) = tanh(v @ W1(b)" in text and r"c_{b}(b \leftarrow v) &= " in latex
    assert "b_{i} \\leftarrow" not in latex and "c′(z" not in text


@every_page
def test_a_draw_whose_own_noise_stands_on_the_page_is_made_of_it(s):
    """Else nothing would say that it is the noise of that draw, nor which way round."""
    text, latex = text_of(s), latex_of(s)
    for site in s.derivation.graph.sites:
        for noise in (f"ε({site})", f"u({site})"):
            if noise in text:
                line = next(line for line in text.split("\n") if line.startswith(f"  {site} ~ "))
                assert noise in line.partition("drawn as")[2] and latex.count(f"\n{site[0]}") >= 2, line


def test_the_noise_of_a_step_is_that_of_its_draw():
    text = str(DRAWN["loop"]().surrogate(scg.ARM()))
    assert "⊥(u(move[t]) - 0.5)" in text and "drawn as where(u(move[t]) < sigmoid(" in text


@every_page
def test_what_is_of_each_draw_says_so(s):
    """The joint probability of all draws of a site and that of one of them are spelled alike: lines below tell."""
    where = text_of(s).partition("where\n")[2]
    for m in () if s is made("loop") else s.derivation.draft.marks:
        of_draws = m.name.text.startswith(("log p(@ |", "p(@ |", "p(<value> |"))
        if of_draws and m.site in s.derivation.graph.sites and m.node.ndim:
            head = re.escape(m.name.text.partition("|")[0].replace("@", m.site).replace("<value>", f"flip({m.site})"))
            line = re.search(rf"(?m)^  {head}\|.*", where)
            assert line is not None and re.search(r"element i is|of each", line[0]), where


@pytest.mark.parametrize("name", ["parts disarm", "parts triple"])
def test_a_replay_is_of_the_parts_that_weigh_the_draw_it_replaces(name):
    """The difference of two is what one draw changes: neither is the whole cost where the other is a part of it."""
    text, latex = text_of(made(name)), latex_of(made(name))
    assert "  Q(n): element i weighs n[i], and is those parts of F that are made of this draw\n" in text
    assert "  Q(n ← v): element i is those parts of F that are made of n[i], where n[i] is v, and later" in text
    parts = r"&= \text{those parts of } F \text{ that are made of } n_{i}"
    assert latex.count(parts) == 2 and r"\left." not in latex
    if name == "parts triple":
        assert "picked" not in text and "each element by itself" in text and "added up" not in text


@pytest.mark.parametrize("name, named", [
    ("loop arm", ["move'"]), ("loop triple", ["move[t]*"]), ("loop arms", ["move[t]*"])])
def test_other_draws_of_a_step_are_explained(name, named):
    """What takes the place of a draw has a line of its own in loops as elsewhere, and one name."""
    text = text_of(made(name))
    for head in named:
        assert re.search(rf"(?m)^  {re.escape(head)}: ", text), text
    assert "move[t]'" not in text.replace("move[t]*'", "")


def test_signals_say_which_draws_they_weigh():
    assert "  Q(b): element i weighs b[i], and is loss\n" in text_of(made("optimal"))


def test_draws_from_other_params_say_so():
    """What is drawn given a twin of a param stands so in its law, in loops too, and no twin of a draw is made of it."""
    text, latex = text_of(made("bound")), latex_of(made("bound"))
    assert 'b ~ Bernoulli(logits="theta old")\n' in text and r"\mathrm{logits} = \text{``theta old''}" in latex
    assert "in place of its uniform noise" not in latex


def test_noises_are_numbered_and_each_is_explained():
    text, latex = text_of(made("weak normal")), latex_of(made("weak normal"))
    assert "u1(x), u5(x), u2(x), u4(x): uniform noise" in text and "u'" not in latex
    assert r"u_{1,x}, u_{2,x}, u_{4,x}, u_{5,x} &: " in latex and r"\varepsilon_{1,x} &: " in latex


@pytest.mark.parametrize("rule", [
    scg.SPWD(4), scg.WeakDerivative(), scg.LikelihoodRatio(4), scg.Regenerative()], ids=str)
def test_rules_for_chains_are_said_in_words(rule):
    """Runs of phantoms, windows and cycles are the compiler's own: none of their steps stands on the page."""
    g = scg.Graph("chain")
    w = g.param("w")

    def step(y):
        new = g.sample("y", scg.Bernoulli(logits=w * y))
        g.cost("energy", new * 2.0)
        return new

    g.chain(step, init=0.0, burn_in=3, horizon=64)
    s = g.surrogate(rule)
    text, latex = str(s), s.latex()
    assert "  + w * ⊥(D(w))\n" in text and "\n  D(w): the mean" in text and re.search(r"\nD_\{w\} &: ", latex)
    assert re.findall(r"loop\d|prefix_sum|scan\(|below\(", text) == [] and "carry_0" not in text


@pytest.mark.parametrize("name", ["rao", "gumbel", "reinmax", "half"])
def test_what_stands_for_a_draw_is_a_formula_in_latex_too(name):
    """Long ones have parts, of which each has a line."""
    latex = latex_of(made(name))
    assert "see the text" not in latex and r"\text{replaced by } \text" not in latex
    heads = re.findall(r"(?m)^v_\{(\d+)", latex)
    assert heads and len(set(heads)) == len(heads) and {*re.findall(r"(?<!\w)v_\{(\d+)", latex)} == {*heads}


def test_a_bound_whose_draws_are_pulled_is_held():
    """The cost of `DReG` is not differentiated through the draws, though these are made along a path."""
    g = scg.Graph("bound")
    m = g.param("m")
    q = scg.Normal(m, 1.0)
    z = g.sample("z", q, shape=(3,))
    g.cost("c", -scg.logmeanexp(scg.Normal(0.0, 2.0).log_prob(z) - q.log_prob(z), axis=0))
    s = g.surrogate(scg.DReG())
    assert "\nL = held(c)\n" in str(s) and "\n  held(c): c, where draws" in str(s)
    assert "the square of the share of w" in str(s) and r"\mathrm{held}(c) &: c \text" in s.latex()


def test_values_that_are_vectors_are_listed():
    text = str(GRAPHS["one hot"]().surrogate(scg.WeakDerivative()))
    assert "\n  v: each row of [[0, 1, 0], [0, 0, 1]]\n" in text


def test_what_loops_carry_has_the_names_of_the_declaration():
    g = scg.Graph("carried")
    q = g.param("q")

    def step(carry, _):
        h = g.sample("h", scg.Bernoulli(logits=q + carry))
        g.cost("c", (h - 0.3) ** 2)
        return 0.5 * h, h

    g.scan(step, 0.0, length=3)
    latex = g.surrogate(scg.Enumerate()).latex()
    assert r"\prod_{\tau=0}^{2} p(h_{\tau} \mid q, \mathrm{carry}_{0,\tau})" in latex and "carry}'" not in latex


def test_long_costs_are_formulas_in_parts():
    g = scg.Graph("long")
    x, w = g.data("x", 4), g.param("w", (3, 4))
    q = scg.Normal(w @ x, 1.0)
    z = g.sample("z", q, shape=(5, 3))
    g.cost("c", -scg.logmeanexp((scg.Normal(0.0, 2.0).log_prob(z) + scg.Normal(w @ x, 3.0).log_prob(z)
                                 - q.log_prob(z)).sum(axis=1), axis=0))
    latex = g.surrogate(scg.DReG()).latex()
    assert "see the text" not in latex and re.findall(r"(?m)^v_\{(\d+)", latex)[:1] == ["1"]


def test_nodes_that_nothing_is_made_of_are_left_out():
    g = scg.Graph("unused")
    b = g.sample("b", scg.Bernoulli(logits=g.param("q")))
    g.node("aside", 3.0 * b)
    g.cost("c", g.node("used", b - 0.3) ** 2)
    s = g.surrogate(scg.ScoreFunction())
    for page in (str(s), s.latex()):
        assert "used" in page and "aside" not in page
