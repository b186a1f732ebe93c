"""Graphs as text: one node on a line, or a whole expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.ir.axes import Axis
from scg.ir.loop_numbers import unnumbered
from scg.ir.node import FUNCTIONS, Node
from scg.ir.traverse import topological

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "and": "&",
          "or": "|", "pow": "**"}
_CALLED = {"lt": "comparison", "le": "comparison", "eq": "comparison", "ne": "comparison", "add": "sum",
           "sub": "difference", "mul": "product", "div": "quotient", "pow": "power", "whole_power": "power",
           "getitem": "index", "amax": "max", "contract": "matrix product", "out": "result of a scan",
           "log_density": "log-probability"}


def name_of(node: Node) -> str | None:
    """The user's name of a node: a leaf's, a site's, or one that its graph gave it."""
    if node.op.name == "placeholder":
        return unnumbered(node.attrs.name)
    if node.op.kind == "leaf" and node.op.name != "const":
        return node.attrs.name
    if node.op.name == "named":
        return node.attrs[0]
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


MOST = 4_000  # characters of an expression: a graph is written as a tree, which may be exponentially larger
DEEPEST = 60


def short(node: Node, most: int = 60, names: Mapping[int, str] | None = None) -> str:
    """The node as an expression for a message: a literal as its numbers, and nothing longer than `most`."""
    if node.op.name == "const":
        return _cut(literal(node, most), most)
    return expression(node, names=names, most=most)


def literal(node: Node, most: int) -> str:
    """The numbers of a constant, at least as many as fill `most` characters."""
    array = node.attrs.array
    return repr(array.tolist()) if array.size <= most else repr(array.reshape(-1)[:most].tolist())


def expression(node: Node, depth: int = DEEPEST, names: Mapping[int, str] | None = None, most: int = MOST) -> str:
    """The node as an expression; named nodes and sites stay names, and so do the nodes whose ids have `names`.

    It is cut after `most` characters, and what is cut is not written in the first place.
    """
    pieces: list[str] = []
    length = 0
    left: list[str | tuple[Node, int]] = [*reversed(_spelled(node, depth, names or {}, True))]
    while left and length <= most:
        piece = left.pop()
        if isinstance(piece, str):
            pieces.append(piece)
            length += len(piece)
        else:
            left.extend(reversed(_spelled(*piece, names or {})))
    return _cut("".join(pieces), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _spelled(node: Node, depth: int, names: Mapping[int, str], root: bool = False) -> list:
    """A node as text, and the arguments within it as pairs of a node and a depth."""
    if node.id in names:
        return [names[node.id]]
    name = name_of(node)
    if name is not None and not (root and node.op.kind != "leaf" and node.op.name != "sample"):
        return [name]
    op = node.op.name
    if op == "named":
        return _spelled(node.args[0], depth, names, True)
    if op == "const":
        return [repr(node.attrs)]
    if depth == 0:
        return ["…"]
    if op == "noise":
        return [f"noise({node.attrs.title})"]
    if op == "uniform":
        return [f"u({node.args[0].attrs.title})"]
    inner = [(a, depth - 1) for a in node.args]
    if op in _INFIX:
        return ["(", inner[0], f" {_INFIX[op]} ", inner[1], ")"]
    if op == "neg":
        return ["-", inner[0]]
    if op == "whole_power":
        return [inner[0], f"**{node.attrs[0]}"]
    if op == "either":  # as on paper
        return _spelled(*inner[2], names)
    if op == "log_density":  # what can be drawn for certain has no choice to show
        certain = node.args[0].op.name == "const"
        return [inner[2]] if certain else ["where(", inner[0], ", -inf, ", inner[2], ")"]
    if op == "stop_gradient":
        within = _spelled(*inner[0], names)
        bare = len(within) == 5 and within[0] == "("  # an operator's own parentheses need no others
        return ["⊥(", *(within[1:-1] if bare else within), ")"]
    attrs = "" if node.attrs == () else f"; {_axes(node.attrs)}"
    if op == "contract":
        attrs = f"; {node.attrs.left},{node.attrs.right}->{node.attrs.out}"
    if op in ("scan", "draw_until"):
        attrs = ""
    listed = [piece for pair in inner for piece in (", ", pair)][1:]
    return [f"{op}(", *listed, f"{attrs})"]


def _axes(attrs):
    """Attributes, axes among them by their names."""
    if isinstance(attrs, Axis):
        return attrs.name
    names = isinstance(attrs, tuple) and attrs and all(isinstance(a, str) for a in attrs)
    return ", ".join(attrs) if names else attrs


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


FUNCTIONS.update({"title": title, "describe": describe})
