"""What is read of a surrogate can be read alone: text and LaTeX say what every name in them stands for.

And whatever users call what they declare, no name of theirs is also one of ours on the same page.
"""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import sympy
from formula_graphs import CASES
from pictured import DRAWN
from problems import PROBLEMS
from strategies import STRATEGIES

import scg

# --- LaTeX -----------------------------------------------------------------------------------------------------------
COMMANDS = (r"frac left right sum prod log quad nabla mathbb mid leq geq neq substack ldots cdot leftarrow sqrt pi"
            r" max min in tanh cos sin approx sim lfloor rfloor wedge vee neg Gamma mapsto")
KNOWN = {"\\" + word for word in COMMANDS.split()}
BASE = r"\\mathrm\{(?:[^{}\\]|\\.)*\}|\\operatorname\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]"
SYMBOL = rf"(?:\\(?:hat|bar|tilde)\{{(?:{BASE})\}}|{BASE})'*"


def lines_of(latex: str) -> Iterator[tuple[str, str]]:
    """What stands on the left of each line, and what stands on its right; no words."""
    latex = re.sub(r"\\text\{[^{}]*\}", " ", latex)
    latex = re.sub(r"\\(begin|end)\{(aligned|cases)\}", " ", latex).replace("\\\\\n", "\n").replace("\\\\", " ")
    for line in latex.split("\n"):
        left, found, right = line.partition("&")
        right = "" if re.search(r"^:.* 1 - ", right) else right  # the twin of a draw, in words
        yield (left, right) if found else ("", left)


def undefined(latex: str, leaves: set[str]) -> set[str]:
    """The symbols on right sides that are no leaves and stand on no left side."""
    for name in leaves:
        latex = re.sub(rf"{re.escape(name[:-1])}(?=[,}}])", "_{", latex) if "_" in name else latex
    lines = list(lines_of(latex))
    known = leaves | {symbol for left, _ in lines for symbol in re.findall(SYMBOL, left)}
    bound = {symbol for below in re.findall(r"\\(?:sum|prod)_\{(?:[^{}]|\{[^{}]*\})*\}", latex)
             for symbol in re.findall(SYMBOL, below)}
    of_parameters = re.findall(r"\\mathrm\{(?:\w|\\_)+\}_\{([\w,]*)\} =", latex)  # \mathrm{logits}_{i} = …
    bound |= set("".join(of_parameters)) | set(re.findall(rf"({SYMBOL}) \\mapsto", latex))  # x ↦ …
    used = {symbol for _, right in lines for symbol in re.findall(SYMBOL, _without_families(right))}
    used = {s.rstrip("'") if s[0] == "u" or s.startswith((r"\varepsilon", r"\xi")) else s for s in used}  # noise
    return {s for s in used - known - bound - KNOWN - {"p", "e", "E"} if not s.startswith(r"\operatorname")}


def _without_families(right: str) -> str:
    r"""A right side without the names of a family and its parameters: \sim \mathrm{Normal}(\mathrm{loc} = …)."""
    if not right.startswith(r"\sim"):
        return right
    return re.sub(r"\\mathrm\{(?:\w|\\_)+\}(?=(?:_\{[\w,]*\})? =)|\\mathrm\{\w+\}(?=\()", "", right)


def leaves_in_latex(s: scg.Surrogate) -> set[str]:
    from scg.export.names import names_of

    names, graph = names_of(s.derivation), s.derivation.graph
    return {names.latex(names.given(name)) for name in (*graph.params, *graph.inputs, *graph.rows)}


# --- text ------------------------------------------------------------------------------------------------------------
PYTHON = {"for", "each", "in", "value", "place", "from", "to", "of", "shape", "seen", "as", "and", "or", "if", "else",
          "True", "False", "nan", "inf", "element", "by", "is", "axis", "all", "T", "where", "are", "the", "same",
          "log", "every", "row", "drawn",
          "lambda", "replaced", "one", "an", "support", "averaged", "over", "rows", "with", "e"}
NAME = r"(?<![\w'.])[^\W\d]\w*'*"


def undefined_in_text(text: str, leaves: set[str]) -> set[str]:
    """The same of text."""
    text = re.sub(r"(?m)^(  .* = .*?): [a-z].*$", r"\1", text)  # what is said beside a formula
    lines = [line for line in text.splitlines()[1:] if line != "where"]
    known = set(leaves)
    for line in lines:
        known |= set(re.findall(NAME, re.split(r" = | ~ |: |, ", line)[0])) if not line.startswith("  +") else set()
    used = {name for line in lines if not re.search(r"^  (?:[^=~()]|\((?:[^()]|\([^()]*\))*\))*: ", line)
            for name in re.findall(rf"{NAME}(?![\w'(=\u0300-\u036f′⁺⁻]|=)", line)}
    return used - known - PYTHON - {"t", "v", "L", *re.findall(r"lambda (\w+):", text)}


# --- indices ---------------------------------------------------------------------------------------------------------
def confused(latex: str) -> list[str]:
    """The definitions in which a sum binds an index that the left side has."""
    found = []
    for left, right in lines_of(latex):
        bound = {letter for below in re.findall(r"\\(?:sum|prod)_\{((?:[^{}]|\{[^{}]*\})*)\}", right)
                 for letter in re.findall(r"(?<![\\A-Za-z])([a-z])(?: *=| *\\leq| *\\in)", below)}
        if r"\nabla" not in left and bound & indices_of(left):
            found.append(f"{left} & {right}")
    return found


def lost(latex: str, theirs: set[str]) -> list[str]:
    """The explanations in words of an element that do not say which one: by an index, a bound of a sum, or alone."""
    return [f"{left} & {right}" for left, right in lines_of(latex) if right.startswith(":") and
            re.search(r"[A-Za-z]", right) and
            not indices_of(left) - theirs <= set(re.findall(r"(?<![A-Za-z\\])[ijkst](?![A-Za-z])", right))]


def indices_of(text: str) -> set[str]:
    """The letters of ours that stand alone below a name."""
    text = re.sub(r"\\(?:hat|bar|tilde)\{\w\}", "", text)
    return set(re.findall(r"(?<=[,{<])[ijkst](?=[,}])", text))


ALWAYS = {name: list(STRATEGIES)[i % len(STRATEGIES)] for i, name in enumerate(PROBLEMS)}
PAGES = [(problem, label) for problem in PROBLEMS for label in STRATEGIES]


def surrogates(problem: str, labels) -> Iterator[scg.Surrogate]:
    for label in labels:
        try:
            yield PROBLEMS[problem]().graph.surrogate(STRATEGIES[label])
        except scg.EstimatorError:
            assert label != "policy"


def check_page(s: scg.Surrogate) -> None:
    graph = s.derivation.graph
    assert undefined(s.latex(), leaves_in_latex(s)) == set(), s.latex()
    assert confused(s.latex()) == [], s.latex()
    assert lost(s.latex(), {*graph.nodes}) == [], s.latex()
    leaves = {part for name in (*graph.params, *graph.inputs, *graph.rows) for part in re.findall(NAME, name)}
    assert undefined_in_text(str(s), leaves) == set(), str(s)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_pages_say_what_their_names_stand_for(problem, request):
    labels = STRATEGIES if request.config.getoption("--full") else {"policy", ALWAYS[problem]}
    for s in surrogates(problem, labels):
        check_page(s)


@pytest.mark.parametrize("case", CASES)
def test_pages_of_formulas_do_too(case):
    made = CASES[case]()
    check_page(made.graph.surrogate(made.strategy))


@pytest.mark.parametrize("which, missing", [
    (r"h_{t}", r"h_{0}"), (r"\sum_{s=t}^{3} c_{s}", r"\sum_{s=0}^{3} c_{s}"),
    (r"\text{row } t \text{ of } A", r"\text{row } \text{ of } A")])
def test_an_element_that_words_leave_out_is_found(which, missing):
    """Planted: by an index, by where a sum begins, and by the letter alone."""
    for said, count in ((which, 0), (missing, 1)):
        assert len(lost(rf"\bar{{Q}}_{{h_{{t}}}} &: \text{{the mean of }} {said}", set())) == count


def test_what_a_loop_leaves_has_one_name():
    """The last draw, in the laws of what is drawn after the loop and in all that estimators make of these draws."""
    g = scg.Graph()
    p = g.param("p")

    def step(before, _):
        h = g.sample("h", scg.Bernoulli(logits=p + before), estimator=scg.ScoreFunction())
        g.cost("each", h * p)
        return h, None

    last, _ = g.scan(step, 0.0, length=3)
    for i, estimator in enumerate((scg.WeakDerivative(), scg.MuProp(), scg.ARMS(), scg.REBAR(), scg.GumbelSoftmax())):
        b = g.sample(f"b{i}", scg.Bernoulli(logits=p * last), estimator=estimator)
        g.cost(f"after {i}", (b - 0.3) ** 2)
    s = g.surrogate()
    check_page(s)
    assert "carry" not in s.latex() and len(re.findall(r"h_\{2\}", s.latex())) > 2 * len(g.sites)


@pytest.mark.parametrize("problem, estimator", [("coin_in_scan", scg.REBAR()), ("truths_in_scan", scg.RELAX()),
                                                ("scan_3_steps", scg.CARMS())], ids=str)
def test_what_estimators_bring_into_loops_has_its_name(problem, estimator):
    """Temperatures, which are no draws and have no steps, and several values for a draw, each in words and formulas."""
    s = PROBLEMS[problem]().graph.surrogate(estimator)
    assert undefined(s.latex(), leaves_in_latex(s)) == set() and confused(s.latex()) == [], s.latex()
    heads = {left.strip() for left, right in lines_of(s.latex()) if right.startswith(":") and r"\lambda" in left}
    assert heads <= {rf"\lambda_{{{name}}}" for name in ("b", r"\mathrm{coins}")}


# --- names -----------------------------------------------------------------------------------------------------------
def toy(names: list[str]) -> scg.Graph:
    """Rows, two sites, a named node, and two costs."""
    a, x, b, c, m, f, k = names
    g = scg.Graph()
    weight, data = g.param(a), g.data(x)
    first = g.sample(b, scg.Bernoulli(logits=weight * data))
    second = g.sample(c, scg.Bernoulli(logits=weight - first))
    mixed = g.node(m, (first + second - 0.3) ** 2 * weight)
    g.cost(f, mixed - data)
    g.cost(k, second * first, scale=0.5)
    return g


def walk(names: list[str]) -> scg.Graph:
    """A loop along data, which carries a number and a draw."""
    a, x, b, c, m, f, k = names
    g = scg.Graph()
    weight, data, start = g.param(a), g.data(x, 3), g.param(c)

    def step(carry, xt):
        total, before = carry
        draw = g.sample(b, scg.Bernoulli(logits=weight * total + before))
        mean = g.node(m, 0.5 * total + draw * xt)
        g.cost(f, (mean - xt) ** 2)
        return (mean, draw), draw

    (last, _), _ = g.scan(step, (start, 0.0), xs=data)
    g.cost(k, last**2)
    return g


def normal(names: list[str]) -> scg.Graph:
    """A path, and a vector of draws."""
    a, x, b, c, m, f, k = names
    g = scg.Graph()
    weight, start = g.param(a), g.input(x)
    path = g.sample(b, scg.Normal(loc=weight, scale=1.0))
    draws = g.sample(c, scg.Bernoulli(logits=path * np.array([0.3, 0.4]) * start))
    g.cost(f, g.node(m, (path - start) ** 2) + draws.sum())
    g.cost(k, draws[0] * draws[1])
    return g


PLAIN = ["g", "h", "d", "f", "r", "o", "q"]
OURS = ["L", "E", "Q", "N", "n", "t", "s", "i", "j", "k", "v", "u", "p", "F", "M", "a", "z", "c", "LOO", "mu", "eta",
        "epsilon", "Delta", "tau", "mean", "Pr", "J"]
NASTY = [[OURS[(i + j) % len(OURS)] for j in range(7)] for i in range(0, len(OURS), 3)]
BESIDE: list[tuple[Callable, dict]] = [
    (toy, {"score": None, "arm": scg.ARM(), "muprop": scg.MuProp(), "weak": scg.WeakDerivative(), "spsa": scg.SPSA(),
           "average": scg.ScoreFunction(scg.MovingAverage()), "local": scg.LocalExpectation(),
           "sum": scg.Enumerate()}),
    (walk, {"score": None, "weak": scg.WeakDerivative(), "disarm": scg.DisARM()}),
    (normal, {"path": None, "elements": scg.ScoreFunction(credit="elements")})]


def words_of(page: str) -> Counter[str]:
    """The words on a page, without prose and commands."""
    page = re.sub(r"\\text\{[^{}]*\}|\\(?:hat|bar|tilde)(?=\{)|\\mathbb\{E\}|\\begin\{\w+\}|\\end\{\w+\}", " ", page)
    page = re.sub(r"(?m): .*$|[\u0300-\u036f]", "", page.replace("\\\\", " "))
    return Counter(re.findall(r"\\?[^\W\d_]+", re.sub(r"\\(?:mathrm|operatorname)\{(\w+)\}", r"\1 ", page)))


@pytest.mark.parametrize("taken", [
    names if i % 3 == 0 else pytest.param(names, marks=pytest.mark.full) for i, names in enumerate(NASTY)], ids=str)
def test_no_letter_of_ours_is_a_name_of_the_users(taken):
    """Each of their names stands as often as a plain one would in its place: what else would be ours is not it."""
    for build, strategies in BESIDE:
        for label, strategy in strategies.items():
            plain, other = (build(names).surrogate(strategy) for names in (PLAIN, taken))
            for show in (str, type(plain).latex):
                usual, found = words_of(show(plain)), words_of(show(other))
                for name, stand_in in zip(taken, PLAIN):
                    spelled = name if show is str or len(name) == 1 or name in ("LOO", "mean", "Pr") else {
                        "epsilon": r"\varepsilon"}.get(name, "\\" + name)
                    assert found[spelled] == usual[stand_in], (label, name, stand_in, show(other), show(plain))


# --- what is said of the pictured graphs -----------------------------------------------------------------------------
@pytest.mark.parametrize("strategy, words, theirs", [
    (scg.RELAX(), r"layer of factor|in b of factor, where", "of c[, ]"),
    (scg.GradientCritic(), r"weight in d of|offset in d, for", "in r[, ]")], ids=["net", "critic"])
def test_words_have_the_letters_of_the_formulas(strategy, words, theirs):
    """A letter that gave way to a name of the user's has given way in the words below it too."""
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("c")))
    g.cost("loss", (b - g.param("r")) ** 2)
    s = g.surrogate(strategy)
    assert len(re.findall(words, str(s))) > 1 and not re.search(theirs, str(s)), s
    assert not re.search(r"of <?c\b|in <?r\b", s.latex().partition("where")[0]), s.latex()


def test_a_replay_in_a_loop_says_on_which_steps_it_acts():
    """What is the same for every value cancels; the credit says so too."""
    s = DRAWN["loop"]().surrogate(scg.WeakDerivative())
    assert "Q(move[t] ← v): sum(effort) + distance where move[t] is v" in str(s)
    assert "of effort, v acts on effort[t+1:] only" in str(s)
    assert r"\mathrm{effort}_{n,s}, v \text{ acts on those with } s > t" in s.latex()


@pytest.mark.parametrize("noise, said", [("common", "the same noise"), ("fresh", "noise of their own")])
@pytest.mark.parametrize("estimator", [scg.ARM, scg.WeakDerivative])
def test_a_replay_says_under_which_noise_later_draws_follow(estimator, noise, said):
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("a")))
    c = g.sample("c", scg.Bernoulli(logits=b))
    g.cost("loss", (b - c) ** 2)
    s = g.surrogate({"b": estimator(noise=noise), "c": scg.ScoreFunction()})
    for page in (str(s), s.latex()):
        assert re.findall("later draws follow from it, under (the same noise|noise of their own)", page) == [said], page


def test_what_a_carry_is_made_of_has_lines_too():
    """Where only a sum over steps is asked for, which is made of what else the loop carries, in all views."""
    g = scg.Graph()
    a = g.param("a")

    def step(carry, _):
        wait, total = carry
        k = g.sample("k", scg.Bernoulli(logits=a))
        new = np.maximum(wait + k - 0.5, 0.0)
        return (new, total + new), None

    (_, total), _ = g.scan(step, (0.0, 0.0), length=3)
    g.cost("mean", total / 3)
    s = g.surrogate(scg.ScoreFunction())
    for name in ("carry_0", "carry_1"):
        assert f"  {name}[0] = 0\n" in str(s) and f"  {name}[t+1] = " in str(s), s
        assert {f"{name}[0]", f"{name}[t + 1]"} <= {*s.definitions}, s.definitions


@pytest.mark.parametrize("strategy, lines", [
    (scg.ARM(), {"b'": "another draw of b, Bernoulli(a), from 1 - u in place of its uniform noise u"}),
    (scg.ARMS(n=3), {"coupled_b": "each of 3 coupled draws, of which b is the first",
                     "r_b": "the product of the probabilities of 0 and of 1, over that of a 0 and a 1 in two of the "
                            "coupled draws of b, in this order"})], ids=["twin", "coupled"])
def test_definitions_say_what_else_is_drawn(strategy, lines):
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("a", 2)))
    g.cost("loss", (b.sum() - 0.45) ** 2)
    assert lines.items() <= dict(g.surrogate(strategy).definitions).items()


def test_what_sums_over_values_bind_is_what_replays_hold():
    s = DRAWN["belief_net"]().surrogate({"h1": scg.ScoreFunction(), "h2": scg.LocalExpectation(), "h3": scg.DisARM()})
    assert "p(h2 = v | W2, b2, h1) * (⊥(Q(h2 ← v)) - ⊥(" in str(s) and "for each value v of an element of h2)" in str(s)
    assert r"0 \leq v \leq 1" in s.latex() and r"p(h_{2,n,i} = v \mid" in s.latex()
    assert "Q(h3 ← h3'): " in str(s) and "Q(h3 ← v)" not in str(s)  # all draws of the layer at once: no number
    assert r"(h_{3,n} \leftarrow h'_{3,n}) &= " in s.latex() and r"(h_{3,n} \leftarrow v)" not in s.latex()


def test_values_are_told_from_elements():
    one_hot = PROBLEMS["one_hot_pair"]().graph.surrogate(scg.LocalExpectation()).latex()
    assert r"p(x_{i} = v_{j} \mid w)" in one_hot and r"Q_{x}(x_{i} \leftarrow v) &= " in one_hot
    assert r"v_{j} &: \text{row } j \text{ of }" in one_hot
    weak = str(PROBLEMS["categorical_weights"]().graph.surrogate(scg.WeakDerivative()))
    assert "Q(k ← v) - Q(k ← 0)) for each value v of k from 1 to 2)" in weak


@pytest.mark.parametrize("build, text, latex", [
    (DRAWN["paper_2"], "f = y", "f &= y "),
    (DRAWN["loop"], "carry_1[t+1] = memory[t]", r"\mathrm{carry}_{1,n,t + 1} &= \mathrm{memory}_{n,t} ")])
def test_what_has_a_name_is_called_by_it(build, text, latex):
    g = build()
    s = g.surrogate(scg.ScoreFunction())
    assert f"  {text}\n" in str(s) and latex in s.latex()
    assert re.search(rf"(?m)^  (cost|carry) +{re.escape(text)}(,|$)", str(g))


def test_costs_are_numbers_wherever_they_are_written():
    g = DRAWN["belief_net"]()
    line = "nll = sum((x - recon)**2)"
    assert f"cost    {line}, by" in str(g) and f"  {line}\n" in str(g.surrogate(None))
    assert r"\left(x_{n,i} - \mathrm{recon}_{n,i}\right)^{2}" in g.surrogate(None).latex()  # what is subtracted, last


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "nested_loops"])
def test_one_word_for_what_is_repeated(name):
    """A run of the graph is a replicate: samples are sites, and the argument that counts replicates."""
    f = scg.compile(DRAWN[name](), backend="numpy")
    for page in (f.explain(), str(f.surrogate), f.surrogate.latex()):
        assert re.findall(r"\bsamples?\b", page) == []


def test_a_draw_is_none_either():
    f = scg.compile(DRAWN["mixture"](), strategy=scg.MuProp(), backend="numpy")
    assert re.findall(r"\bsamples?\b", f.explain()) == []


def test_parents_stand_as_they_were_declared():
    s = DRAWN["shared_site"]().surrogate({"w": scg.ScoreFunction(), "b": scg.Enumerate()})
    assert r"\mathrm{kl}(\mathrm{loc}, \mathrm{log\_scale})" in s.latex()
    assert r"- \mathrm{log\_scale}_{i}\right)" in s.latex()  # the logarithm of a scale exp(log_scale)


def test_a_param_of_no_cost_is_said_to_be_one():
    g = scg.Graph()
    theta, unused = g.param("theta"), g.param("unused", 3)
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.sample("beside", scg.Normal(unused, 1.0))
    g.cost("loss", (b - 0.45) ** 2)
    f = scg.compile(g, backend="numpy")
    values = {"theta": 0.3, "unused": np.ones(3)}
    r, again = f(values, samples=64, rng=0), pickle.loads(pickle.dumps(f))(values, samples=64, rng=0)
    assert f.explain().count('No cost depends on "unused": its gradient is 0.') == 1
    assert [note for note in r.notes if "unused" in note] == ['no cost depends on "unused": its gradient is 0']
    assert again.notes == r.notes and not r.grad["unused"].any()
    assert not any("depends on" in note for note in scg.compile(g, wrt=["theta"], backend="numpy")(values, rng=0).notes)


def test_the_error_on_an_attribute_lists_what_is_for_users():
    with pytest.raises(AttributeError) as found:
        print(scg.Graph().plots)
    listed = str(found.value).partition("It has: ")[2].rstrip(".").split(", ")
    assert listed == ["call", "chain", "cost", "costs", "data", "draw", "input", "inputs", "name", "node", "nodes",
                      "param", "params", "rows", "sample", "scan", "sites", "surrogate", "to_dot", "to_networkx"]


# --- of which element, row and step ----------------------------------------------------------------------------------
def unbound(latex: str) -> list[str]:
    """The definitions whose right side has a letter of ours that neither its left side nor a sum on it has."""
    found = []
    for left, right in lines_of(latex):
        bound = {letter for below in re.findall(r"\\(?:sum|prod)_\{((?:[^{}]|\{[^{}]*\})*)\}", right)
                 for letter in re.findall(r"(?<![\\A-Za-z])([a-z])(?: *=| *\\leq| *\\in)", below)}
        letters = set(re.findall(r"(?<=[,{<])[nijkst](?=[,} +-])", right)) - bound
        if left.strip() and not right.startswith((":", r"\sim")) and r"\nabla" not in left:
            found += [f"{left} & {right}"] if letters - set(re.findall(r"(?<=[,{<])[nijkst](?=[,} +-])", left)) else []
    return found


@pytest.mark.parametrize("name, strategy", [
    ("shared_site", {"w": scg.ScoreFunction(), "b": scg.Enumerate()}),
    ("shared_site", {"w": scg.MuProp(), "b": scg.ScoreFunction()}),
    ("shared_site", {"w": scg.WeakDerivative(), "b": scg.ScoreFunction()}),
    ("belief_net", scg.WeakDerivative()), ("loop", scg.WeakDerivative()), ("loop", scg.MuProp())], ids=str)
def test_what_varies_on_the_right_varies_on_the_left(name, strategy):
    """What a site that all rows share is weighed by has the row's number, in L and where it is defined."""
    latex = DRAWN[name]().surrogate(strategy).latex()
    assert unbound(latex) == [], latex
    signals = set(re.findall(r"\\hat\{Q\}_\{(?:[^{}]|\{[^{}]*\})*\}", latex))
    assert all(re.search(r"[,{]n[,}]", signal) for signal in signals), signals


def test_the_number_of_a_value_is_no_index_of_the_draw():
    s = PROBLEMS["categorical_weights"]().graph.surrogate(scg.WeakDerivative())
    assert r"\eta_{k,i}\," in s.latex() and r"\eta_{k,i} &= " in s.latex()
    assert "eta(k, v) * " in str(s) and re.search(r"eta\(k, v\) = .*, one for each v$", str(s), re.M)


def test_values_are_those_of_an_element():
    text = str(DRAWN["belief_net"]().surrogate({"h1": scg.LocalExpectation()}))
    assert "for each value v of an element of h1)" in text
    assert "  p(h1 = v | W1, b1, x): element i is the probability that h1[i] is v\n" in text


@pytest.mark.parametrize("rollout", [False, True])
def test_the_mean_field_says_which_costs_and_which_sites(rollout):
    s = DRAWN["belief_net"]().surrogate({"h2": scg.MuProp(rollout=rollout)})
    exceptions = ", except those that h2 is drawn given" if rollout else ""
    where = f"in the mean field, where every site is replaced by its mean{exceptions}"
    assert f"  Q̄(h2): nll + 0.1 * sparsity {where}\n" in str(s)
    assert "  Q̄′(h2): the derivative in h2 of nll + 0.1 * sparsity, in the mean field\n" in str(s)
    assert r"\bar{Q}_{h_{2,n}} &: \mathrm{nll}_{n} + 0.1\,\mathrm{sparsity}_{n} \text{ in the mean field" in s.latex()


def test_means_of_steps_are_formulas_in_latex_too():
    latex = DRAWN["loop"]().surrogate(scg.WeakDerivative()).latex()
    line = next(line for line in latex.split("\n") if line.startswith(r"\mu_{\mathrm{move}_{n,t}} &"))
    assert "&= " in line and r"\mathrm{carry}_{0,n,t}" in line and "text" not in line


def test_steps_have_a_range_in_text():
    text = str(DRAWN["loop"]().surrogate(scg.ScoreFunction()))
    assert "  t: a step of the loop, 0 to 9; L sums over them all" in text
    assert "in each step t, at pictured.py" in scg.compile(DRAWN["loop"](), backend="numpy").explain()


def test_reprs_show_what_differs_from_defaults():
    assert [repr(e) for e in (scg.LeaveOneOut(), scg.LeaveOneOut(4), scg.LeaveOneOut(axis=0), scg.Enumerate())] == [
        "LeaveOneOut()", "LeaveOneOut(group=4)", "LeaveOneOut(axis=0)", "Enumerate()"]
    assert repr(scg.MuProp(rollout=True)) == "MuProp(rollout=True)" and repr(scg.WeakDerivative()) == "WeakDerivative()"
    assert repr(scg.WeakDerivative(noise="fresh")) == "WeakDerivative(noise='fresh')"
    assert repr(scg.ScoreFunction(scg.LeaveOneOut())) == "ScoreFunction(baseline=LeaveOneOut())"


def test_a_path_is_how_a_draw_is_made_and_a_relaxation_stands_for_it():
    s = DRAWN["belief_net"]().surrogate({"h1": scg.StraightThrough()})
    assert "), replaced by h1 + " in str(s) and r"\text{replaced by } h_{1,n,i} + " in s.latex()
    shared = DRAWN["shared_site"]().surrogate()
    assert "  w ~ Normal(loc=loc, scale=exp(log_scale)), drawn as loc + " in str(shared)
    for page in (str(s), str(shared), s.latex(), shared.latex()):
        assert "draws are held, except for those that are said to be functions of these" in page
    scored = DRAWN["shared_site"]().surrogate(scg.ScoreFunction())
    assert "draws are held" in str(scored) and "except" not in str(scored)


def test_every_page_says_that_draws_are_those_before_the_end_of_a_loop():
    """Params are held at the end; if it were not said, the formula would score draws on which nothing depends."""
    g = scg.Graph()
    th = g.param("th")

    def step(s, _):
        b = g.sample("b", scg.Bernoulli(logits=th))
        g.cost("c", 1.0 + b)
        return b, None

    g.scan(step, 0.0, length=3, until=lambda s: s == 1)
    s = g.surrogate(scg.ScoreFunction())
    for page in (str(g), str(s)):
        assert "b[t] ~ Bernoulli(logits=th), where over[t] == 0" in page, page


@pytest.mark.parametrize("strategy", [
    scg.ARMS(n=3), scg.CARMS(n=3), scg.WithoutReplacement(2), scg.SumAndSample(2), scg.GumbelRao(k=3)], ids=str)
def test_several_draws_have_names_wherever_they_stand(strategy):
    """What sums run over, what is drawn beside, and its number: no word of ours, and no placeholder of a name."""
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta", 2)))
    g.cost("loss", ((b - 0.45) ** 2).sum())
    s = g.surrogate(strategy)
    for page in (str(s), s.latex()):
        assert re.findall(r"<\w+>|coupled\(|chosen\(|\(other\)|b (?:coupled|choice|copy)\b", page) == [], page
    if not isinstance(strategy, scg.GumbelRao):
        assert re.search(r"probability that b\[i\] is (?!b\*\[i\]|1$)", str(s), re.M) is None
        assert "for each b*" in str(s) and re.search(r"(?m)^  b\*: ", str(s))


def test_cases_in_conditions_are_written_and_not_solved(monkeypatch):
    """For the set where a condition on cases holds, sympy looks for minutes; and a condition may be a mere letter."""
    def solved(*_):
        raise AssertionError("a condition is solved")

    monkeypatch.setattr(sympy.logic.boolalg.Boolean, "as_set", solved)
    case = CASES["cases in conditions"]()
    s = case.graph.surrogate(case.strategy)
    assert s.latex().count(r"\begin{cases}") >= 2
    assert s.gradient("a").free_symbols


def test_formulas_in_latex_say_nothing_twice_and_need_no_sign_too_many():
    g = scg.Graph("little autoencoder")
    x = g.data("x", 6)
    h = scg.tanh(scg.nn.dense(g, "hidden", x, 4))
    loc, scale = scg.nn.dense(g, "loc", h, 2), np.exp(scg.nn.dense(g, "scale", h, 2))
    z = g.sample("z", scg.Normal(loc, scale))
    g.cost("kl", scg.kl_divergence(scg.Normal(loc, scale), scg.Normal(0.0, 1.0)))
    g.cost("fit", -scg.Bernoulli(logits=scg.nn.mlp(g, "out", z, (4, 6))).log_prob(x))
    page = g.surrogate().latex()
    parts = re.findall(r"^v_\{\d+,(.*?) \\\\$", page, re.M)
    assert parts and len({*parts}) == len(parts), page
    assert r"\left(\tanh" not in page and r"&= \left(\begin{cases}" not in page and r"\text{for}" not in page, page


def test_equal_costs_of_two_sites_have_their_names_once():
    """Both weigh the same cost: Q̂ of the second was said to be a second Q̂, of which nothing was said."""
    g = scg.Graph("bits")
    w, v = g.param("W", (3, 4)), g.param("V", 4)
    h = g.sample("h", scg.Bernoulli(logits=w @ np.ones(4)))
    k = g.sample("k", scg.Bernoulli(logits=h @ w + v))
    g.cost("c", (k.sum() - 1.3) ** 2 + 0.1 * h.sum())
    assert "^{(" not in g.surrogate({"h": scg.DisARM(), "k": scg.LocalExpectation()}).latex()
