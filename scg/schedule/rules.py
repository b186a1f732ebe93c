"""How each op is planned that is neither computed from a scalar source nor moves elements.

`structural` fills the table; `nests`, `scalars` and `builder` read it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from scg.errors import SCGError
from scg.ir.node import Node, facts_of, where
from scg.ir.op import Op

T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """How a kernel computes an op.

    Parameters
    ----------
    element : callable or None
        ``element(nest, node, position) -> expression``: where it is used, from elements of its arguments.
    statements : callable or None
        ``statements(builder, node)``: loops of its own, which leave its elements in a buffer. An op that has an
        `element` too is written out where it has few elements.
    reduction : callable or None
        ``reduction(builder, nest, node, position, buffer, first, after)``: add to the node's element in its buffer what
        a nest over its arguments' elements has at a position; `first` and `after` take statements around the nest. What
        it returns, if anything, makes of the nest's statements the one that stands for them.
    space : callable or None
        ``space(node, shared) -> Domain``: what that nest runs over, if it is not the argument's elements. Then it is a
        nest for this node alone.
    stored : callable
        ``stored(node) -> arguments`` that must have buffers.
    view : bool
        Whether an element is one of the argument's: never worth a buffer.
    """

    element: Callable[..., Any] | None = None
    statements: Callable[..., None] | None = None
    reduction: Callable[..., Callable[..., Any] | None] | None = None
    space: Callable[..., Any] | None = None
    stored: Callable[[Node], Sequence[Node]] = lambda node: ()
    view: bool = False

    @property
    def running(self) -> bool:
        """Whether it has loops of its own unless it has few elements."""
        return self.statements is not None and self.element is not None


RULES: dict[Op, Rule] = {}
BY_FIELD: dict[str, Rule] = {}  # the rules of ops that say by a field of their record how they are computed
NONE = Rule()


def rule_of(node: Node) -> Rule:
    """The rule of a node's op; an empty one if it has none."""
    return _rule_of(node.op)


@functools.lru_cache(maxsize=1024)
def _rule_of(op: Op) -> Rule:
    return RULES.get(op) or next((rule for name, rule in BY_FIELD.items() if getattr(op, name) is not None), NONE)


def kept_with_nodes(function: Callable[[Node, bool, int], T]) -> Callable[[Node, bool, int], T]:
    """A function of a node, whether rows are an outer loop, and how much is written out, computed once for each."""
    @functools.wraps(function)
    def found(node: Node, shared: bool, most: int) -> T:
        key = function, shared, most
        kept = facts_of(node)
        if key not in kept:
            kept[key] = function(node, shared, most)
        return kept[key]

    return found


def no_rule(node: Node) -> SCGError:
    """What is raised where a kernel would need an op that it cannot compute."""
    return SCGError(
        where(node), f"A kernel was to compute {node.op.name}.",
        f"The op is {node.op.kind}; it has no scalar source, it does not say where its elements come from, and "
        "the schedule has no rule for it.",
        "Write it as an elementwise op, or with an index map, pieces, or an op that it combines by; or compile with "
        'backend="numpy".')
