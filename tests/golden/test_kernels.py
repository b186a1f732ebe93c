"""Digests of the kernels of every problem under every strategy: a change that should not touch a kernel is seen not to.

A digest is of the kernel's text without its comments, which hold names and lines. What is refused is not here: the law
of refusals says what must be.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Container, Iterator
from types import CodeType

import pytest

from scg.derive import derive
from scg.passes.outputs import program_of
from scg.schedule import measured
from scg.simplification import simplified
from scg.surrogate.derivation import Derivation
from tests.problems import PROBLEMS
from tests.refused import refusal
from tests.strategies import STRATEGIES


def without_comments(text: str) -> str:
    """The tokens of a module's text, less its comments and its docstring."""
    kept = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type != tokenize.COMMENT]
    return " ".join(kept[1:])  # the first token is the docstring, which names the graph


def read(code: CodeType) -> tuple:
    """All that Python makes of a text but for its lines."""
    constants = tuple(read(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants


def statements(text: str, given: Container[str] = ()) -> tuple:
    """What Python reads of a module's text, less its docstring and the arrays that its function is given."""
    def is_given(s: ast.stmt) -> bool:
        return isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and s.targets[0].id in given

    body = [s for s in ast.parse(text).body[1:] if not is_given(s)]
    return read(compile(ast.Module(body, []), "<a kernel>", "exec"))


def digest_of(derivation: Derivation, dtype: str) -> str:
    """What identifies the kernel of a derivation."""
    from scg_numba import compile as kernel_of

    kernel = kernel_of(measured(simplified(program_of(derivation, dtype, True, ()))))
    shown = statements(kernel.source, kernel.text.constants)
    assert shown == statements(kernel.text.code()), "what is compiled is not what is shown"
    code = without_comments(kernel.source)
    return hashlib.blake2b(code.encode(), digest_size=8).hexdigest()


def digests(problem: str, label: str) -> Iterator[str]:
    """Those of a problem under a strategy, in both types; "refused" where there must be none."""
    strategy = STRATEGIES[label]
    derivation = None if refusal(problem, strategy) else derive(PROBLEMS[problem]().graph, strategy)
    for dtype in ("float64", "float32"):
        yield f"{label} {dtype}: {'refused' if derivation is None else digest_of(derivation, dtype)}"


@pytest.mark.parametrize("problem", PROBLEMS)
def test_kernels(problem, golden):
    golden("\n".join(line for label in STRATEGIES for line in digests(problem, label)))


def test_what_is_read_differs_where_texts_do():
    same, others = '"""K."""\nx = 0.0\ndef f(a):\n    return a < x', ("-0.0", "0", "1.0")
    assert statements(same) == statements(same.replace("K", "L").replace("\ndef", "\n\n# why\ndef"))
    for text in (*(same.replace("0.0", other) for other in others), same.replace("<", ">"), same.replace("x", "y")):
        assert statements(text) != statements(same)
    assert statements(same, {"x"}) == statements(same.replace("0.0", "1.0"), {"x"})
