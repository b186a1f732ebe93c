"""Source text: modules' own text, as parts of another module, and users' words in comments and docstrings."""

from __future__ import annotations

import ast
import functools
import re

from scg.errors import printable


def in_comment(text: str) -> str:
    """A text with users' names in it, as it may stand behind ``#``."""
    return printable(text)


def in_docstring(text: str) -> str:
    """Lines with users' names in them, as they may stand between triple quotes, the last of which has its own line."""
    lines = (printable(line.replace("\\", "\\\\")) for line in text.split("\n"))
    return "\n".join(re.sub('"(?=")|(?<=")"', r'\\"', line) for line in lines)


_MODULES = 64  # texts of which it is known what they import and define: the same ones are asked for again and again
_COMMENT = re.compile(r"""("[^"\n]*"|'[^'\n]*')|[ \t]*#[^\n]*""")
_EMPTY = re.compile(r"^\n", re.MULTILINE)


def without_comments(text: str) -> str:
    """Code without its comments and empty lines; its strings are of one line, and hold no quotes."""
    return _EMPTY.sub("", _COMMENT.sub(r"\1", text))


@functools.lru_cache(_MODULES)
def imports_of(text: str) -> tuple[str, ...]:
    """A module's imports at its top, one a line, of what is not this package's own."""
    out = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            out += [f"import {ast.unparse(alias)}" for alias in node.names if not _own(alias.name)]
        elif isinstance(node, ast.ImportFrom) and not _own(node.module or ""):
            out += [f"from {node.module} import {ast.unparse(alias)}" for alias in node.names]
    return tuple(out)


def _own(module: str) -> bool:
    return module == "__future__" or module.partition(".")[0].partition("_")[0] == "scg"


@functools.lru_cache(_MODULES)
def names_of(text: str) -> tuple[str, ...]:
    """What a module's text defines at its top."""
    out = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            out.append(node.name)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            out += [name.id for name in ast.walk(target) if isinstance(name, ast.Name)] if target else []
    return tuple(out)


@functools.lru_cache(_MODULES)
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
