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
KNOWN = {r"\frac", r"\left", r"\right", r"\sum", r"\prod", r"\log", r"\quad", r"\nabla", r"\mathbb", r"\mid", r"\leq",
         r"\geq", r"\substack", r"\infty", r"\ldots", r"\cdot", r"\leftarrow", r"\sqrt", r"\pi", r"\max", r"\min", r"\in",
         r"\tanh", r"\cos", r"\sin", r"\exp", r"\begin", r"\end", r"\approx", r"\sim", r"\lfloor", r"\rfloor", r"\lceil",
         r"\rceil", r"\prime", r"\neq", r"\wedge", r"\vee", r"\neg", r"\Gamma", r"\delta", r"\operatorname", r"\partial",
         r"\circ", r"\theta\left", r"\lvert", r"\rvert", r"\mathrm", r"\psi", r"\erf", r"\text"}
BASE = r"\\mathrm\{(?:[^{}\\]|\\.)*\}|\\operatorname\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]"
SYMBOL = rf"(?:\\(?:hat|bar|tilde)\{{(?:{BASE})\}}|{BASE})'*"
WORDS = {r"\operatorname{erf}", r"\operatorname{sign}", r"\operatorname{atan}", r"\operatorname{Mod}"}


def lines_of(latex: str) -> Iterator[tuple[str, str]]:
    """What stands on the left of each line, and what stands on its right; no words."""
    latex = re.sub(r"\\text\{[^{}]*\}", " ", latex)
    latex = re.sub(r"\\(begin|end)\{(aligned|cases)\}", " ", latex)
    for line in latex.split("\\\\\n"):
        left, found, right = line.partition("&")
        yield (left, right) if found else ("", left)


def undefined(latex: str, leaves: set[str]) -> set[str]:
    """The symbols on right sides that are no leaves and stand on no left side."""
    lines = list(lines_of(latex))
    known = leaves | {symbol for left, _ in lines for symbol in re.findall(SYMBOL, left)}
    bound = {symbol for below in re.findall(r"\\(?:sum|prod)_\{(?:[^{}]|\{[^{}]*\})*\}", latex)
             for symbol in re.findall(SYMBOL, below)}
    used = {symbol for _, right in lines for symbol in re.findall(SYMBOL, _without_families(right))}
    used = {s.rstrip("'") if s[0] == "u" or s.startswith((r"\varepsilon", r"\xi")) else s for s in used}  # noise
    return used - known - bound - KNOWN - WORDS - {"p", "e", "E"}


def _without_families(right: str) -> str:
    r"""A right side without the names of a family and its parameters: \sim \mathrm{Normal}(\mathrm{loc} = …)."""
    if not right.startswith(r"\sim"):
        return right
    return re.sub(r"\\mathrm\{\w+\}(?=(?:_\{[\w,]*\})? =)|\\mathrm\{\w+\}(?=\()", "", right)


def leaves_in_latex(s: scg.Surrogate) -> set[str]:
    from scg.export.names import names_of

    names, graph = names_of(s.derivation), s.derivation.graph
    found = {names.latex(names.given(name)) for name in (*graph.params, *graph.inputs, *graph.rows)}
    return {symbol for text in found for symbol in re.findall(SYMBOL, text.split("_")[0])[:1]}


# --- text ------------------------------------------------------------------------------------------------------------
PYTHON = {"for", "each", "in", "value", "place", "from", "to", "of", "shape", "seen", "as", "and", "or", "if", "else",
          "True", "False", "nan", "inf", "element", "by", "is", "axis", "all", "T", "where", "are", "the", "same", "log",
          "every", "row", "averaged", "over", "rows", "with", "e"}
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
