"""Nothing asks for an op by its name: what an op is stands on its record, and one op is the object that defines it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where nodes and the registry are made, an op is looked up by its name
REGISTRY = ROOT / "scg" / "ir"
SOURCES = [p for top in ("scg", "backends") for p in sorted((ROOT / top).rglob("*.py"))
           if not p.is_relative_to(REGISTRY)]


def _is_op(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "op") or (isinstance(node, ast.Name) and node.id == "op")


def reads(tree: ast.AST, text: bool = False) -> Iterator[int]:
    """Lines that read the name of an op, but for those that write it in a text; a text that finds something is none."""
    if isinstance(tree, ast.Attribute) and tree.attr == "name" and _is_op(tree.value) and not text:
        yield tree.lineno
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "getattr":
        for child in ast.walk(tree):
            if isinstance(child, ast.JoinedStr):
                yield from (line for part in child.values for line in reads(part))
    for child in ast.iter_child_nodes(tree):
        yield from reads(child, text or isinstance(tree, ast.JoinedStr))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_ops_are_not_told_apart_by_name(path):
    found = list(reads(ast.parse(path.read_text())))
    assert not found, f"an op's name is read in lines {found}: ask its record, or compare with the op itself"


@pytest.mark.parametrize("text, lines", [
    ('n.op.name == "exp"', [1]), ('n.op.name in {"exp"}', [1]), ("RULES[n.op.name]", [1]), ("RULES.get(op.name)", [1]),
    ("name = node.args[0].op.name", [1]), ("match n.op.name:\n    case _: pass", [1]),
    ('getattr(self, f"_{n.op.name}")', [1]), ('raise Wrong(f"{n.op.name} has no value")', []), ("n.op is exp_op", []),
])
def test_what_counts_as_a_read(text, lines):
    assert list(reads(ast.parse(text))) == lines
