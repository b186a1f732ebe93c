"""One way to write mathematics: operators and named functions, and no function that is looked up by a string."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEFINE_OPS = ("scg/ir/", "scg/ops/", "scg/functions.py")
FILES = sorted(path.relative_to(ROOT).as_posix() for part in ("scg", "backends")
               for path in (ROOT / part).rglob("*.py"))


def named_by_a_string(text: str) -> list[int]:
    """Lines that apply an op, or call a function, that a string names: ``apply("log", x)``, ``FUNCTIONS["sum"](x)``."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            by, what = node.func.id in ("apply", "make", "function"), node.args[:1]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            by, what = node.value.id == "FUNCTIONS", [node.slice]
        else:
            continue
        if by and any(isinstance(w, ast.Constant) and isinstance(w.value, str) for w in what):
            found.append(node.lineno)
    return sorted(found)


@pytest.mark.parametrize("file", [name for name in FILES if not name.startswith(DEFINE_OPS)])
def test_mathematics_is_written_in_operators_and_named_functions(file):
    assert not named_by_a_string((ROOT / file).read_text(encoding="utf-8"))


def test_strings_are_seen():
    wrong = 'apply("log", x)\nmake("sum", (x,))\nFUNCTIONS["sum"](x)\nfunction("power")'
    assert named_by_a_string(wrong) == [1, 2, 3, 4]
    assert not named_by_a_string('log(x)\nmake(sum_op, (x,))\nFUNCTIONS.update({"sum": total})\n"apply"')
