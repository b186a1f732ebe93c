"""What is read of a surrogate can be read alone: text and LaTeX say what every name in them stands for.

And whatever users call what they declare, no name of theirs is also one of ours on the same page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from formula_graphs import CASES
from problems import PROBLEMS
from strategies import STRATEGIES

import scg

# --- LaTeX -----------------------------------------------------------------------------------------------------------
COMMANDS = (r"frac left right sum prod log quad nabla mathbb mid leq geq neq substack ldots cdot leftarrow sqrt pi"
            r" max min in tanh cos sin approx sim lfloor rfloor wedge vee neg Gamma")
KNOWN = {"\\" + word for word in COMMANDS.split()}
BASE = r"\\mathrm\{(?:[^{}\\]|\\.)*\}|\\operatorname\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]"
SYMBOL = rf"(?:\\(?:hat|bar|tilde)\{{(?:{BASE})\}}|{BASE})'*"


def lines_of(latex: str) -> Iterator[tuple[str, str]]:
    """What stands on the left of each line, and what stands on its right; no words."""
    latex = re.sub(r"\\text\{[^{}]*\}", " ", latex)
    latex = re.sub(r"\\(begin|end)\{(aligned|cases)\}", " ", latex).replace("\\\\\n", "\n").replace("\\\\", " ")
    for line in latex.split("\n"):
        left, found, right = line.partition("&")
        right = "" if re.match(r": *1 - ", right) else right  # the twin of a draw, in words
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
    bound |= set("".join(of_parameters))
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
          "log", "every", "row", "support", "averaged", "over", "rows", "with", "e"}
NAME = r"(?<![\w'.])[^\W\d]\w*'*"


def undefined_in_text(text: str, leaves: set[str]) -> set[str]:
    """The same of text."""
    lines = [line for line in text.splitlines()[1:] if line != "where"]
    known = set(leaves)
    for line in lines:
        known |= set(re.findall(NAME, re.split(r" = | ~ |: |, ", line)[0])) if not line.startswith("  +") else set()
    used = {name for line in lines if not re.search(r"^  [^=~]*: ", line)
            for name in re.findall(rf"{NAME}(?![\w'(=\u0300-\u036f′⁺⁻]|=)", line)}
    return used - known - PYTHON - {"t", "v", "L"}


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
