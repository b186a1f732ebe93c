"""Nested tuples, lists and dicts of nodes: what a scan carries, runs along and puts out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from scg.errors import ShapeError
from scg.ir.location import here


def flatten(tree) -> tuple[list, Callable[[list], Any]]:
    """Leaves of nested tuples, lists and dicts, and the way back; None has no leaves."""
    if tree is None:
        return [], lambda values: None
    if isinstance(tree, Mapping):
        keys = list(tree)
        many, back = flatten([tree[k] for k in keys])
        return many, lambda values: dict(zip(keys, back(values)))
    if isinstance(tree, (tuple, list)):
        parts = [flatten(t) for t in tree]
        sizes = [len(p) for p, _ in parts]

        def rebuild(values: list):
            it = iter(values)
            items = [back([next(it) for _ in range(n)]) for n, (_, back) in zip(sizes, parts)]
            return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)

        return [leaf for p, _ in parts for leaf in p], rebuild
    return [tree], lambda values: values[0]


def called(tree) -> list[str]:
    """What the user calls each leaf: the keys of dicts, and fields of named tuples, that lead to it, from the first on.

    It is empty where there are places only, or keys that make no name; and of dicts side by side that have equal keys.
    """
    found = [*map(_joined, _ways(tree))]
    return [name if found.count(name) == 1 else "" for name in found]


def _ways(tree) -> list[tuple]:
    """The keys and places that lead to each leaf."""
    if tree is None:
        return []
    if isinstance(tree, Mapping):
        return [(key, *way) for key, value in tree.items() for way in _ways(value)]
    if isinstance(tree, (tuple, list)):
        keys = getattr(tree, "_fields", range(len(tree)))
        return [(key, *way) for key, value in zip(keys, tree) for way in _ways(value)]
    return [()]


def _joined(way: tuple) -> str:
    """A name from the first key on that is one; empty if a key cannot be a part of a name, or there is none."""
    keys = [*itertools.dropwhile(lambda key: isinstance(key, int), way)]
    name = "_".join(map(str, keys))
    whole = all(isinstance(key, (str, int)) for key in keys) and name.isprintable()
    return name if whole and re.fullmatch(r"[^\W\d][^\[\]]*", name) else ""


def matched(tree, like) -> list:
    """Leaves of a new carry in the order of the old one's, which has the same structure."""
    if isinstance(tree, Mapping) and isinstance(like, Mapping) and tree.keys() == like.keys():
        return [leaf for key in like for leaf in matched(tree[key], like[key])]
    if isinstance(tree, (tuple, list)) and isinstance(like, (tuple, list)) and len(tree) == len(like):
        return [leaf for new, old in zip(tree, like) for leaf in matched(new, old)]
    if _outline(tree) == _outline(like):
        return flatten(tree)[0]
    raise ShapeError(str(here() or ""), f"A scan's step turned a carry from {_outline(like)} into {_outline(tree)}.",
                     "A carry must keep its structure from step to step.", "Return a carry of the same structure.")


def _outline(tree) -> str:
    """The outermost structure of a carry, in words."""
    if tree is None:
        return "None"
    if isinstance(tree, Mapping):
        return f"a dict of {', '.join(map(repr, tree)) or 'nothing'}"
    return f"a {type(tree).__name__} of {len(tree)}" if isinstance(tree, (tuple, list)) else "one node"
