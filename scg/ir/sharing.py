"""Expressions that grow with the graph, not with the tree that it would be: what is used twice is written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping

from scg.ir.node import Node, constant
from scg.ir.printer import name_of, pieces, seen

_NOTHING = constant(0.0)
_SHORT = 40  # characters: what is shorter is written again where it is used again
_LONG = 400  # what is longer gets a name though it is used once


class Shared:
    """Writes nodes as expressions in which parts that are long, and used twice, have names of their own.

    Parameters
    ----------
    roots : iterable of Node
        All that is going to be written.
    names : dict of int to str
        Texts in the place of nodes, by their ids.
    taken : container of str
        Names that parts may not have.

    Attributes
    ----------
    parts : dict of str to str
        What the names of parts stand for.
    met : dict of str to Node
        Nodes that stand in the texts by a name of the user's; leaves and sites are not among them.
    """

    def __init__(self, roots: Iterable[Node], names: Mapping[int, str], taken: Container[str] = ()):
        self.names, self._taken = dict(names), taken
        self.parts: dict[str, str] = {}
        self.met: dict[str, Node] = {}
        self._texts: dict[int, str] = {}
        self._uses: Counter[int] = Counter()
        self._inner: dict[int, list[Node]] = {}
        self._known: dict[int, tuple[Node, str | None]] = {}
        self._count(roots)

    def _count(self, roots: Iterable[Node]) -> None:
        waiting = [seen(root, self.names, True)[0] for root in roots]
        while waiting:
            for inner in self._below(waiting.pop()):
                self._uses[inner.id] += 1
                if self._uses[inner.id] == 1:
                    waiting.append(inner)

    def _below(self, node: Node) -> list[Node]:
        """What is written within a node, without what has a name."""
        if node.id not in self._inner:
            found = pieces(node, self.names) if node.args else []
            self._inner[node.id] = [inner for inner, text in map(self._seen, found) if text is None]
        return self._inner[node.id]

    def _seen(self, piece: str | Node) -> tuple[Node, str | None]:
        if isinstance(piece, str):
            return _NOTHING, piece
        if piece.id not in self._known:
            self._known[piece.id] = seen(piece, self.names)
        return self._known[piece.id]

    def write(self, root: Node, bare: bool = True) -> str:
        """The expression of a node; `bare` is without its own name."""
        top, text = seen(root, self.names, bare)
        if text is not None:
            self._note(top, text)
            return text
        stack = [top]
        while stack:
            node = stack[-1]
            missing = [n for n in self._below(node) if n.id not in self._texts] if node.id not in self._texts else []
            if missing:
                stack += missing
                continue
            stack.pop()
            if node.id not in self._texts:
                self._texts[node.id] = text = "".join(map(self._text, pieces(node, self.names)))
                if node is not top and (len(text) > _LONG or (len(text) > _SHORT and self._uses[node.id] > 1)):
                    self._name(node, text)
        return self._texts[top.id]

    def _text(self, piece: str | Node) -> str:
        node, text = self._seen(piece)
        if text is None:
            return self.names.get(node.id) or self._texts[node.id]
        self._note(node, text)
        return text

    def _note(self, node: Node, text: str) -> None:
        if node.args and node.op.name != "sample" and node.id not in self.names and name_of(node) == text:
            self.met.setdefault(text, node)

    def _name(self, node: Node, text: str) -> None:
        number = len(self.parts) + 1
        while f"v{number}" in self._taken or f"v{number}" in self.parts:
            number += 1
        self.names[node.id] = f"v{number}"
        self.parts[f"v{number}"] = text
