"""Source text: modules' own text, as parts of another module."""

from __future__ import annotations

import ast


def without_imports(text: str) -> str:
    """A module's text without its docstring, imports and list of public names."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        listed = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        if docstring or listed or isinstance(node, (ast.Import, ast.ImportFrom)):
            assert node.end_lineno is not None
            lines[node.lineno - 1 : node.end_lineno] = [None] * (node.end_lineno - node.lineno + 1)  # type: ignore[list-item]
    kept = "\n".join(line for line in lines if line is not None)
    return kept.strip("\n") + "\n"
