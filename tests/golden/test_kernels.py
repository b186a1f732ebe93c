"""Digests of the kernels of every problem under every strategy: a change that should not touch a kernel is seen not to.

A digest is of the kernel's text without its comments, which hold names and lines. What is refused is not here: the law
of refusals says what must be.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable

import pytest

from scg.derive import derive
from scg.passes.outputs import program_of
from scg.schedule import measured
from tests.problems import PROBLEMS
from tests.refused import refusal
from tests.strategies import STRATEGIES


def without_comments(text: str) -> str:
    """The tokens of a module's text, less its comments and its docstring."""
    kept = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type != tokenize.COMMENT]
    return " ".join(kept[1:])  # the first token is the docstring, which names the graph


def statements(text: str, given: Iterable[str] = ()) -> str:
    """What Python reads of a module's text, less its docstring and the arrays that its function is given."""
    shown = [ast.dump(ast.Name(name, ast.Store())) for name in given]
    body = [s for s in ast.parse(text).body[1:] if not (isinstance(s, ast.Assign) and ast.dump(s.targets[0]) in shown)]
    return ast.dump(ast.Module(body, []))


def digest_of(problem: str, strategy, dtype: str) -> str:
    """What identifies the kernel of a problem under a strategy; "refused" where there must be none."""
    from scg_numba import compile as kernel_of

    from scg.simplification import simplified

    if refusal(problem, strategy):
        return "refused"
    program = measured(simplified(program_of(derive(PROBLEMS[problem]().graph, strategy), dtype, True, ())))
    kernel = kernel_of(program)
    shown = statements(kernel.source, kernel.text.constants)
    assert shown == statements(kernel.text.code()), "what is compiled is not what is shown"
    code = without_comments(kernel.source)
    return hashlib.blake2b(code.encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_kernels(problem, golden):
    lines = [f"{label} {dtype}: {digest_of(problem, strategy, dtype)}"
             for label, strategy in STRATEGIES.items() for dtype in ("float64", "float32")]
    golden("\n".join(lines))
