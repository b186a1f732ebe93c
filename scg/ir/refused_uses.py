"""What nodes cannot do: uses that need a number, that would change a node, or that have no meaning for one."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from scg.errors import NodeAttributeError, NodeUseError
from scg.ir.location import here
from scg.ir.methods import function

_LATER = "Its value is known only when the graph runs."
_RECORD = 'Name it, g.node("name", node), and ask for it: f(values, record="name").record["name"].'
_TABLE = ('For R[k] with an array R and a node k write scg.take(R, k), or g.node("R", R)[k]: what is no node knows '
          "nothing of nodes.")
_INSTEAD = {
    "detach": "Use scg.stop_gradient(node).", "dtype": "Choose the type of all numbers: scg.compile(g, dtype=…).",
    "astype": "Nodes are numbers of one type; use np.floor, np.trunc or np.round for whole ones.",
    "copy": "Nodes do not change: use the node itself.", "flat": "Use node.ravel().",
    **dict.fromkeys(("item", "tolist", "numpy", "value", "values", "eval", "data"), _RECORD),
    **dict.fromkeys(("grad", "backward", "requires_grad"),
                    'Compile the graph and call it: scg.compile(g)(values).grad["theta"].'),
}  # fmt: skip


def using(node) -> str:
    """The first part of an error message about a use of `node`: the line that uses it, not the one that made it."""
    location, title = here(), function("title")(node)
    return f"{location}, {title}" if location else title


def _refuse(node, what: str, why: str, fix: str) -> NoReturn:
    raise NodeUseError(using(node), what, why, fix)


class RefusedUses:
    """The methods of Python's protocols that nodes refuse."""

    __slots__ = ()

    # --- as a number ------------------------------------------------------------------------------------------------
    def __bool__(self) -> bool:
        _refuse(self, "A node was used as a truth value.", _LATER,
                "Use scg.where(condition, a, b) instead of `if`, `and`, `or`; use & | ~ between comparisons, also in "
                "place of a < x < b; use np.maximum instead of max.")

    def __float__(self) -> float:
        _refuse(self, "A node was converted to a number.", _LATER,
                "Use scg.where for choices and scg's or NumPy's functions for arithmetic: np.exp in place of "
                "math.exp, scg.erf in place of math.erf, scg.lgamma in place of math.lgamma.")

    __int__ = __complex__ = __float__  # type: ignore[assignment]

    def __index__(self) -> int:
        _refuse(self, "A node was used as a whole number: an index, a length or a count.", _LATER,
                f"Give lengths and counts as numbers. {_TABLE}")

    def __array__(self, dtype=None, copy=None):
        _refuse(self, "A node was converted to a NumPy array.", _LATER,
                "Use scg.stack([a, b, …]) to make an array node of several nodes, and operators or NumPy's functions "
                f"on nodes as they are. {_TABLE}")

    def __format__(self, spec: str) -> str:
        if spec:
            _refuse(self, f"A node was to be written as a number, by the format {spec!r}.", _LATER, _RECORD)
        return str(self)

    # --- as something that changes ----------------------------------------------------------------------------------
    def __setitem__(self, index, value) -> None:
        _refuse(self, "An element of a node was assigned to.", "Nodes do not change.",
                "Use scg.where(mask, new, old), or build the array with scg.stack or scg.concatenate.")

    def __delitem__(self, index) -> None:
        _refuse(self, "An element of a node was to be deleted.", "Nodes do not change.",
                "Use slices and scg.concatenate to build a node without it.")

    def __setattr__(self, name: str, value) -> None:
        _refuse(self, f".{name} of a node was assigned to.", "Nodes do not change.",
                "Make a new node, e.g. with node.reshape(…).")

    def __delattr__(self, name: str) -> None:
        _refuse(self, f".{name} of a node was to be deleted.", "Nodes do not change.", "Make a new node.")

    def __call__(self, *args, **kwargs):
        _refuse(self, "A node was called.", "It is a value, not a function.",
                "Leave the () away: a distribution's mean and variance are nodes themselves.")

    # --- as something else ------------------------------------------------------------------------------------------
    def __contains__(self, value) -> bool:
        _refuse(self, "A node was asked whether it contains a value.", _LATER,
                "Compare: (node == value).max() is 1 where it does.")

    def __lshift__(self, other) -> Any:
        _refuse(self, "A node was to be shifted by bits.", "Nodes are real numbers.",
                "Use node * 2**n or node // 2**n.")

    __rshift__ = __rlshift__ = __rrshift__ = __lshift__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in type(self).__slots__:  # protocols ask; and a node that is being unpickled
            raise AttributeError(name)
        able = [n for n in dir(type(self)) if not n.startswith("_") and hasattr(np.ndarray, n)]
        instead = _INSTEAD.get(name) or function("of_numpy")(name) or function("of_scg")(name)
        raise NodeAttributeError(using(self), f".{name} of a node was asked for.", "Nodes have no such attribute.",
                                 instead or f"Of those of NumPy's arrays they have: {', '.join(able)}.")
