"""Rewrites by the rule tables, to a fixed point, in the bodies of scans too.

In: roots. Out: the same roots, in fewer or cheaper nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

from scg.ir.node import Node
from scg.rules.driver import rewrite


def simplify(roots: Sequence[Node]) -> list[Node]:
    """The roots with every rule applied."""
    return rewrite(roots)
