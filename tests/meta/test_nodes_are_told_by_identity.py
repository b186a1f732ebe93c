"""Nodes are looked for by identity: ``==`` of two nodes is a node, so that ``in`` and ``index`` of a sequence fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [p for top in ("scg", "backends") for p in sorted((ROOT / top).rglob("*.py"))]
NODES = ("Node", "Part", "SiteNode")  # and what is made of them, and compared element by element
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def _of_nodes(annotation: ast.expr | None) -> bool:
    """Whether it is that of a sequence of nodes, or of one or nothing."""
    if isinstance(annotation, ast.BinOp):
        return _of_nodes(annotation.left) or _of_nodes(annotation.right)
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.value, ast.Name):
        return False
    parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    return annotation.value.id in ("list", "tuple", "Sequence", "Iterable", "Collection") and \
        any((isinstance(part, ast.Name) and part.id in NODES) or _of_nodes(part) for part in parts)


def attributes_of_nodes(tree: ast.Module) -> dict[str, set[str]]:
    """By class, which of its fields and properties are sequences of nodes."""
    return {c.name: {b.target.id for b in c.body if isinstance(b, ast.AnnAssign) and isinstance(b.target, ast.Name)
                     and _of_nodes(b.annotation)}
            | {b.name for b in c.body if isinstance(b, FUNCTION) and b.decorator_list and _of_nodes(b.returns)}
            for c in ast.walk(tree) if isinstance(c, ast.ClassDef)}


def _functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[FUNCTION, str]]:
    """Functions that stand in no other, and the classes that they stand in."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, FUNCTION):
            yield child, owner
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, child.name)


def _assigned(n: ast.Assign, returned: Mapping[str, ast.expr | None]) -> Iterator[tuple[str, ast.expr | None]]:
    """Names that are given what a function of the module returns."""
    for target in n.targets:
        several = isinstance(target, ast.Tuple) and isinstance(n.value, ast.Tuple)
        for name, e in zip(target.elts, n.value.elts) if several else [(target, n.value)]:
            if isinstance(name, ast.Name) and isinstance(e, ast.Call) and isinstance(e.func, ast.Name):
                yield name.id, returned.get(e.func.id)


def _typed(function: FUNCTION, owner: str, returned: Mapping[str, ast.expr | None]) -> dict[str, ast.expr | None]:
    """Names in a function, and in those within it, and what they are annotated with."""
    known: dict[str, ast.expr | None] = {"self": ast.Name(owner)}
    for n in ast.walk(function):
        if isinstance(n, ast.arg) and n.annotation is not None:
            known[n.arg] = n.annotation
        elif isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name):
            known[n.target.id] = n.annotation
        elif isinstance(n, ast.Assign):
            known.update(_assigned(n, returned))
    return known


def by_equality(tree: ast.Module, attributes: Mapping[str, set[str]]) -> Iterator[int]:
    """Lines that look for something in a sequence of nodes by ``==``, as far as annotations tell."""
    returned = {function.name: function.returns for function, owner in _functions(tree) if not owner}
    for function, owner in _functions(tree):
        known = _typed(function, owner, returned)
        for e in ast.walk(function):
            if isinstance(e, ast.Compare):
                places = [right for op, right in zip(e.ops, e.comparators) if isinstance(op, (ast.In, ast.NotIn))]
            else:
                places = [e.value] if isinstance(e, ast.Attribute) and e.attr in ("index", "remove", "count") else []
            if any(_is_sequence(place, known, attributes) for place in places):
                yield e.lineno


def _is_sequence(e: ast.expr, known: Mapping[str, ast.expr | None], attributes: Mapping[str, set[str]]) -> bool:
    if isinstance(e, ast.Name):
        return _of_nodes(known.get(e.id))
    if not isinstance(e, ast.Attribute) or not isinstance(e.value, ast.Name):
        return False
    holder = known.get(e.value.id)
    return isinstance(holder, ast.Name) and e.attr in attributes.get(holder.id, ())


def test_nodes_are_looked_for_by_identity():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in SOURCES}
    attributes: dict[str, set[str]] = {}
    for tree in trees.values():
        for name, fields in attributes_of_nodes(tree).items():
            attributes.setdefault(name, set()).update(fields)
    assert "leaves" in attributes["Stationary"] and len(trees) > 300
    found = [f"{path}:{line}" for path, tree in trees.items() for line in by_equality(tree, attributes)]
    assert not found, f"look for nodes by their ids, or with `is`: {', '.join(found)}"


@pytest.mark.parametrize("text, lines", [
    ("def f(roots: Sequence[Node], n):\n    return n in roots", [2]),
    ("def f(roots: list[Node], n):\n    return roots.index(n)", [2]),
    ("def f(n):\n    roots: tuple[Node, ...] | None = some()\n    return [m for m in n if m not in roots]", [3]),
    ("def f(chain: Chain, n):\n    return any(m in chain.leaves for m in n)", [2]),
    ("class Chain:\n    def f(self, n):\n        return n in self.leaves", [3]),
    ("def f(n):\n    parts, k = g(n), 0\n    parts.remove(n)\n\ndef g(n) -> list[Part]: ...", [3]),
    ("def f(roots: set[Node], n):\n    return n in roots", []),
    ("def f(roots: list[Node], n):\n    return [m for m in roots if m is n]", []),
])
def test_what_counts_as_looking_by_equality(text, lines):
    assert list(by_equality(ast.parse(text), {"Chain": {"leaves"}})) == lines
