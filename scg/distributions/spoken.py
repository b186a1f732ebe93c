"""How a distribution reads: as the call that made it."""

from __future__ import annotations

from scg.ir.node import Node
from scg.ir.printer import filled


class Spoken:
    """The part of a `Distribution` that says what it is."""

    params: dict[str, Node]

    def as_called(self) -> tuple[str, tuple[Node, ...]]:
        """How it reads, as a call: a template in nodes, and these."""
        inner = ", ".join(f"{name}={{{i}}}" for i, name in enumerate(self.params))
        return f"{type(self).__name__}({inner})", tuple(self.params.values())

    def __repr__(self) -> str:
        return filled(*self.as_called())
