"""Graphs as text: one node on a line, or a whole expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scg.ir.loop_numbers import unnumbered
from scg.ir.node import FUNCTIONS, Node
from scg.ir.said import call_of
from scg.ir.spelling import Template, bracketed, sign_of, template
from scg.ir.traverse import topological

_CALLED = {"lt": "comparison", "le": "comparison", "eq": "comparison", "ne": "comparison", "add": "sum",
           "sub": "difference", "mul": "product", "div": "quotient", "pow": "power", "whole_power": "power",
           "getitem": "index", "amax": "max", "contract": "matrix product", "out": "result of a scan",
           "log_density": "log-probability"}


def name_of(node: Node) -> str | None:
    """The user's name of a node: a leaf's, a site's, or one that its graph gave it."""
    if node.op.name == "placeholder":
        return node.attrs.called or unnumbered(node.attrs.name)
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


MOST = 4_000  # characters of an expression in a message: it is a tree, which may be exponentially larger than the graph


def short(node: Node, most: int = 60, names: Mapping[int, str] | None = None) -> str:
    """The node as an expression for a message: a literal as its numbers, and nothing longer than `most`."""
    if node.op.name == "const":
        return _cut(literal(node, most), most)
    return expression(node, names=names, most=most)


def literal(node: Node, most: int) -> str:
    """The numbers of a constant, at least as many as fill `most` characters."""
    array = node.attrs.shown
    return repr(array.tolist()) if array.size <= most else repr(array.reshape(-1)[:most].tolist())


def expression(node: Node, names: Mapping[int, str] | None = None, most: int = MOST,
               root: bool = True) -> str:
    """The node as an expression, in the user's own notation; named nodes and sites stay names.

    So do the nodes whose ids have `names`; the name of a `root` is not what it is spelled as. It is cut after `most`
    characters, and what is cut is not written in the first place.
    """
    names = names or {}
    pieces: list[str] = []
    length = 0
    left: list[str | Node] = [*reversed(spelled(node, names, root))]
    while left and length <= most:
        piece = left.pop()
        if isinstance(piece, str):
            pieces.append(piece)
            length += len(piece)
        else:
            left.extend(reversed(spelled(piece, names)))
    return _cut("".join(pieces), most)


def filled(text: str, args: Sequence[Node], names: Mapping[int, str] | None = None, most: int = MOST) -> str:
    """A template with nodes in its places, as they are written in it."""
    form, names = template(text), names or {}
    parts = (p if isinstance(p, str) else expression(args[p.position], names, most, root=False) for p in form.parts)
    return _cut("".join(parts), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def spelled(node: Node, names: Mapping[int, str], root: bool = False) -> list[str | Node]:
    """A node as text, and the arguments within it as nodes, in the parentheses that they need.

    The name of a `root` is not what it is spelled as.
    """
    node, text = seen(node, names, root)
    return [text] if text is not None else pieces(node, names)


def pieces(node: Node, names: Mapping[int, str]) -> list[str | Node]:
    """The same of a node that has no name, as its op reads."""
    form, args = _template(node)
    found: list[str | Node] = []
    for part in form.parts:
        if isinstance(part, str):
            found.append(part)
            continue
        arg = _bare(node, args[part.position], names)
        inner, text = seen(arg, names)
        sign = sign_of(text) if text is not None else _template(inner)[0].sign
        found += ["(", arg, ")"] if bracketed(sign, part.side, form.sign) else [arg]
    return found


def seen(node: Node, names: Mapping[int, str], root: bool = False) -> tuple[Node, str | None]:
    """What a node is spelled as: another node, where its op leaves no trace, or a text."""
    while True:
        text = _named(node, names, root)
        if text is not None:
            return node, text
        if node.op.name == "named":
            node, root = node.args[0], True
            continue
        form, args = _template(node)
        if form.through is None:
            same = _neutral(node, names)
            if same is None:
                return node, None
            node, root = same, False
        else:
            node, root = args[form.through], False


def _named(node: Node, names: Mapping[int, str], root: bool) -> str | None:
    """A name in the place of a node: the given one, the user's, or that of noise; or the numbers of a literal."""
    if node.id in names:
        return names[node.id]
    name = name_of(node)
    if name is not None and not (root and node.op.kind != "leaf" and node.op.name != "sample"):
        return name
    if node.op.name == "const":
        return numbers(node.attrs.shown)
    return noise_name(node)


def noise_name(n: Node) -> str | None:
    """The noise behind a site: ε, standard normal, or u, uniform."""
    kind, u = ("ε", n.args[0]) if n.op.name == "ndtri" else ("u", n)
    if u.op.name != "uniform":
        return f"noise({n.attrs.title})" if n.op.name == "noise" else None
    stream, turned = u.args[0], False
    while stream.op.name != "noise":
        stream, turned = stream.args[0], turned is not (stream.op.name == "antithetic")
    number = f", {u.attrs.number}" if u.attrs.number else ""
    text = f"{kind}({stream.attrs.title}{number})"
    return text if not turned else f"-{text}" if kind == "ε" else f"1 - {text}"


def _template(node: Node) -> tuple[Template, tuple[Node, ...]]:
    call = call_of(node)
    if call is not None:
        return template(call.template), call.args
    text = node.op.text(node) if callable(node.op.text) else node.op.text
    if text is None:
        listed = ", ".join(f"{{{i}}}" for i in range(len(node.args)))
        text = f"{node.op.name}({listed})"
    return template(text), node.args


def _bare(node: Node, arg: Node, names: Mapping[int, str]) -> Node:
    """An argument of an op that broadcasts, without what only broadcasts it."""
    if node.op.kind != "elementwise" or len(node.args) < 2 or arg.op.name != "broadcast_to" or arg.id in names:
        return arg
    others = [a.shape for a in node.args if a is not arg]
    (inner,) = arg.args
    return inner if np.broadcast_shapes(inner.shape, *others) == node.shape else arg


_UNITS = {"add": (0.0, (0, 1)), "sub": (0.0, (1,)), "mul": (1.0, (0, 1)), "xmuly": (1.0, (0, 1)), "div": (1.0, (1,))}


def _neutral(node: Node, names: Mapping[int, str]) -> Node | None:
    """The argument that a sum with 0, or a product with 1, is."""
    unit, positions = _UNITS.get(node.op.name, (0.0, ()))
    for i in positions:
        one, other = node.args[i], node.args[1 - i]
        if other.shape == node.shape and (names.get(one.id) == _number(unit) or (
                one.op.name == "const" and np.all(one.attrs.shown == unit))):
            return other
    return None


def numbers(array: np.ndarray) -> str:
    """A literal as it would be typed: long arrays in part, numbers to six digits unless they were typed with more."""
    if array.ndim:
        text = np.array2string(array, threshold=8, separator=", ", formatter={"float_kind": _number})  # type: ignore[arg-type]
        return " ".join(text.split())
    return str(bool(array)) if array.dtype == bool else _number(float(array))


_TYPED = 12  # a number of at most so many digits was typed as it is


def _number(x: float) -> str:
    text = repr(float(x))
    digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    return text.removesuffix(".0") if len(digits) <= _TYPED else f"{x:.6g}"


def listing(roots: Sequence[Node]) -> str:
    """Every node on a line of its own, arguments by number."""
    order = topological(roots)
    number = {n.id: i for i, n in enumerate(order)}
    lines = []
    for n in order:
        lines.append(f"%{number[n.id]} = {_listed(n, [f'%{number[a.id]}' for a in n.args])}  # {describe(n)}")
        if n.op.name == "scan":
            lines.extend("    " + line for line in listing(n.attrs.outputs).splitlines())
    return "\n".join(lines)


def _listed(node: Node, args: Sequence[str]) -> str:
    """A node with its arguments by number."""
    if node.op.name == "const":
        return numbers(node.attrs.shown)
    if node.op.kind == "leaf":
        return f"{node.op.name} {name_of(node)}"
    if node.op.name == "sample":
        given = ", ".join(f"{name}={arg}" for name, arg in zip(node.attrs.names, args))
        return f"{name_of(node)} ~ {node.attrs.family.__name__}({given})"
    text = node.op.text(node) if callable(node.op.text) else node.op.text
    if text is None or template(text).through is not None:
        return f"{node.op.name}({', '.join(args)})"
    return "".join(p if isinstance(p, str) else args[p.position] for p in template(text).parts)


FUNCTIONS.update({"title": title, "describe": describe})
