"""Graphs as text: one node on a line, or a whole expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.ir.node import Node
from scg.ir.traverse import topological

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "and": "&",
          "or": "|", "pow": "**"}
_CALLED = {"lt": "comparison", "le": "comparison", "eq": "comparison", "ne": "comparison", "add": "sum",
           "sub": "difference", "mul": "product", "div": "quotient", "pow": "power", "whole_power": "power",
           "getitem": "index", "amax": "max", "contract": "matrix product", "out": "result of a scan"}


def name_of(node: Node) -> str | None:
    """The user's name of a node: a leaf's, a site's, or one that its graph gave it."""
    if node.op.name == "placeholder":
        return node.attrs.name.partition(":")[2] or node.attrs.name  # before the colon stands the scan's number
    if node.op.kind == "leaf" and node.op.name != "const":
        return node.attrs.name
    if node.op.name == "sample":
        return node.attrs.site + ("'" if node.args[-1].op.name == "antithetic" else "")  # its twin from 1 − u
    names = getattr(node.owner, "names", None)
    return names.get(node.id) if names else None


def title(node: Node) -> str:
    """How an error calls a node: its kind and its name, else its op."""
    name = name_of(node)
    if node.op.name == "const":
        return short(node)
    if name is None:
        return _CALLED.get(node.op.name, node.op.name)
    if node.op.name == "placeholder":
        return f"{name} of a scan"
    kind = {"param": "param", "input": "input", "data": "data", "sample": "sample"}.get(node.op.name, "node")
    return f'{kind} "{name}"'


def describe(node: Node) -> str:
    """One line: title, shape, axes."""
    axes = ", ".join(f"{ax.name}" if ax.size is None else f"{ax.name}={ax.size}" for ax in node.axes)
    kind = "" if node.kind == "real" else f" {node.kind}"
    return f"{title(node)} {node.shape}" + (f" by {axes}" if axes else "") + kind


def short(node: Node, most: int = 60, names: Mapping[int, str] | None = None) -> str:
    """The node as an expression for a message: a literal as its numbers, and nothing longer than `most`."""
    text = repr(node.attrs.array.tolist()) if node.op.name == "const" else expression(node, names=names)
    return text if len(text) <= most else text[: most - 1] + "…"


def expression(node: Node, depth: int = 60, names: Mapping[int, str] | None = None) -> str:
    """The node as an expression; named nodes and sites stay names, and so do the nodes whose ids have `names`."""
    return _expression(node, depth, names or {}, True)


def _expression(node: Node, depth: int, names: Mapping[int, str], root: bool = False) -> str:
    if node.id in names:
        return names[node.id]
    name = name_of(node)
    if name is not None and not (root and node.op.kind != "leaf" and node.op.name != "sample"):
        return name
    op = node.op.name
    if op == "const":
        return repr(node.attrs)
    if depth == 0:
        return "…"
    inner = [_expression(a, depth - 1, names) for a in node.args]
    if op == "noise":
        return f"noise({node.attrs.title})"
    if op == "uniform":
        return f"u({node.args[0].attrs.title})"
    if op in _INFIX:
        return f"({inner[0]} {_INFIX[op]} {inner[1]})"
    if op == "neg":
        return f"-{inner[0]}"
    if op == "whole_power":
        return f"{inner[0]}**{node.attrs[0]}"
    if op == "stop_gradient":
        return f"⊥({inner[0].removeprefix('(').removesuffix(')') if _wrapped(inner[0]) else inner[0]})"
    attrs = "" if node.attrs == () else f"; {node.attrs}"
    if op == "contract":
        attrs = f"; {node.attrs.left},{node.attrs.right}->{node.attrs.out}"
    if op in ("scan", "draw_until"):
        attrs = ""
    return f"{op}({', '.join(inner)}{attrs})"


def _wrapped(text: str) -> bool:
    """Whether one pair of parentheses encloses the whole text."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    level = 0
    for i, c in enumerate(text):
        level += (c == "(") - (c == ")")
        if level == 0 and i < len(text) - 1:
            return False
    return True


def listing(roots: Sequence[Node]) -> str:
    """Every node on a line of its own, arguments by number."""
    order = topological(roots)
    number = {n.id: i for i, n in enumerate(order)}
    lines = []
    for n in order:
        args = ", ".join(f"%{number[a.id]}" for a in n.args)
        detail = f" {n.attrs!r}" if n.op.name == "const" else ""
        lines.append(f"%{number[n.id]} = {n.op.name}({args}){detail}  # {describe(n)}")
        if n.op.name == "scan":
            lines.extend("    " + line for line in listing(n.attrs.outputs).splitlines())
    return "\n".join(lines)
