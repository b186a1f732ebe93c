"""Which of the problems' kernels are compiled by the laws of backends: as few and short ones as witness all there is.

The kinds of statements in kernels are those of their syntax, less numbers, places in arrays and whose variable it is:
``v7 = plus(arena[3 * W + l], 0.5)`` is ``v = plus(a[at], v)``. A table, chosen from all kernels by their texts, says
which kernels are compiled and which kinds each of them witnesses. What is not in the table is not compiled anywhere,
and the laws say so; what is in it must be in the kernel.
"""

from __future__ import annotations

import ast
import collections
import functools
import re
from pathlib import Path
from typing import NamedTuple

from scg_numba import compile as kernel_of

from scg.derive import derive
from scg.passes.outputs import fed_program, program_of
from scg.simplification import simplified
from tests.problems import PROBLEMS, finite_problems
from tests.refused import refusal
from tests.strategies import STRATEGIES

TABLE = Path(__file__).parents[2] / "golden" / "compiled_kernels.txt"
FORMS = ("errors", "means", "fed")  # records with standard errors, or without them; contributions under fed noise
EACH_PROBLEM, EACH_STRATEGY = 1, 3  # under so many strategies each problem is compiled, and each strategy on problems
ARRAYS = ("arena", "plain", "totals", "CONST", "POOL", "REALS", "leaf")


class Witness(NamedTuple):
    """A kernel that is compiled."""

    problem: str
    strategy: str
    form: str


class _Kind(ast.NodeTransformer):
    def visit_Name(self, node):
        name = re.sub(r"\d+(_\d+)?[a-z]?$", "", node.id)
        return ast.Name("a" if name in ARRAYS else "v" if name == "real" else name, node.ctx)

    def visit_Constant(self, node):
        return ast.Name("v", ast.Load()) if isinstance(node.value, float) else \
            node if isinstance(node.value, bool) else ast.Constant(0)

    def visit_UnaryOp(self, node):
        node = self.generic_visit(node)
        negative = isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name | ast.Constant)
        return node.operand if negative else node

    def visit_Subscript(self, node):
        node = self.generic_visit(node)
        node.slice = ast.Slice() if isinstance(node.slice, ast.Slice) else ast.Name("at", ast.Load())
        return node


def kinds(text: str) -> frozenset[str]:
    """The kinds of statements of a kernel's text."""
    found = set()
    (chunk,) = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    for statement in ast.walk(chunk):
        if not isinstance(statement, ast.stmt) or statement is chunk:
            continue
        if isinstance(statement, ast.For):
            head, shown = "for", statement.iter
        elif isinstance(statement, ast.If | ast.While):
            head, shown = type(statement).__name__.lower(), statement.test
        else:
            head, shown = "", statement
        found.add(f"{head} {ast.unparse(_Kind().visit(ast.parse(ast.unparse(shown))))}".strip())
    return frozenset(found)


def text_of(derivation, form: str) -> str:
    """The text of a derivation's kernel in one of the forms."""
    program = fed_program(derivation) if form == "fed" else \
        program_of(derivation, "float64", form == "errors", tuple(derivation.draft.values))
    return kernel_of(simplified(program)).text.code()


@functools.cache
def table() -> dict[Witness, frozenset[str]]:
    """What is compiled, and the kinds of statements that it is compiled for."""
    found: dict[Witness, list[str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            list(found.values())[-1].append(line.strip())
        else:
            found[Witness(*line.split())] = []
    return {witness: frozenset(lines) for witness, lines in found.items()}


def write_table() -> None:
    """Choose anew what is compiled."""
    chosen, lines, shown = _chosen(_all()), [], set()
    for witness, found in sorted(chosen.items()):
        lines += [" ".join(witness), *(f"    {kind}" for kind in sorted(found - shown))]
        shown |= found
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table.cache_clear()


def _all() -> dict[Witness, tuple[int, frozenset[str]]]:
    """The length and the kinds of every kernel."""
    found = {}
    for problem, make in PROBLEMS.items():
        for label, strategy in STRATEGIES.items():
            if refusal(problem, strategy):
                continue
            derivation = derive(make().graph, strategy)
            for form in FORMS:
                if form != "fed" or problem in finite_problems():
                    text = text_of(derivation, form)
                    found[Witness(problem, label, form)] = len(text.splitlines()), kinds(text)
    return found


def _chosen(kernels) -> dict[Witness, frozenset[str]]:
    """The kernel that adds most for its length, again and again; then without those that others make superfluous."""
    demands = {w: _demands(w, found, kernels) for w, (_, found) in kernels.items()}
    least = {what: least for found in demands.values() for what, least in found.items()}
    cost = {w: 40 + length for w, (length, _) in kernels.items()}
    met: collections.defaultdict = collections.defaultdict(collections.Counter)  # by what is demanded, of whom

    def new(witness) -> int:
        return sum(of not in met[what] and len(met[what]) < least[what] for what, of in _answers(witness, demands))

    chosen: list[Witness] = []
    while True:
        best = max(kernels, key=lambda w: new(w) / cost[w])
        if not new(best):
            break
        chosen.append(best)
        for what, of in _answers(best, demands):
            met[what][of] += 1
    for witness in sorted(chosen, key=lambda w: cost[w], reverse=True):
        answers = _answers(witness, demands)
        if all(len(met[what]) - (met[what][of] == 1) >= least[what] for what, of in answers):
            chosen.remove(witness)
            for what, of in answers:
                met[what][of] -= 1
                met[what] += collections.Counter()  # without what is 0
    return {w: frozenset(what for what in demands[w] if isinstance(what, str)) for w in chosen}


def _demands(witness: Witness, found: frozenset[str], kernels) -> dict:
    """What a kernel could answer, and how many answers there must be."""
    strategies = {w.strategy for w in kernels if w.problem == witness.problem}
    return {**dict.fromkeys(found, 1), ("problem", witness.problem): min(EACH_PROBLEM, len(strategies)),
            ("strategy", witness.strategy): EACH_STRATEGY}


def _answers(witness: Witness, demands) -> list[tuple]:
    """What a kernel answers, and as which of several answers it counts."""
    as_which = {"problem": witness.strategy, "strategy": witness.problem}
    return [(what, "" if isinstance(what, str) else as_which[what[0]]) for what in demands[witness]]
