"""Functions of the user's own in graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from scg.ir.node import Node
from scg.ir.signed import signed
from scg.ir.traverse import downstream
from scg.ops.call import call


class Foreign:
    """What a graph takes that is not written in nodes."""

    _own: Callable[[Any], Node]
    _tracing: list[Any]  # the scans whose steps are being declared, the outermost first

    @signed
    def call(self, function: Callable, *args, shape: int | tuple[int, ...] = (), vjp: Callable | None = None) -> Node:
        """What a function of yours makes of nodes: a simulator's step, a loop over numbers, a table look-up.

        Parameters
        ----------
        function : callable
            Compiled by ``numba.njit``; for ``backend="numpy"`` any function. It is called in every replicate, with
            numbers for scalars and read-only C-contiguous arrays for arrays, in the graph's dtype, and must be pure:
            the same for the same arguments. The compiled graph knows it by its code and by what it
            reads from around it. In a step of a loop that is over by `until` it is not called.
        *args : Node or array_like
        shape : int or tuple of int
            Of what it returns: a number by default; an array of that shape, or for a vector a tuple of numbers.
        vjp : callable, optional
            ``vjp(g, *args)``: the adjoints of all arguments, as a tuple (one may stand alone), given `g`, that of what
            the function returned. With it the function is taken to be smooth, as the ops are. Without, no derivative
            passes the call: a graph that needs one is refused, and the policy takes estimators that need none.

        Returns
        -------
        Node

        Raises
        ------
        DeclarationError
            If it is no function, or is given nothing.

        Examples
        --------
        >>> import numba
        >>> @numba.njit
        ... def wage(skill, luck):
        ...     return max(skill + luck, 1.0)
        >>> g = scg.Graph("wages")
        >>> luck = g.sample("luck", scg.Normal(g.param("mean"), 1.0))
        >>> _ = g.cost("pay", -g.call(wage, 2.0, luck))
        """
        return call(function, *map(self._own, args), shape=shape, vjp=vjp, unless=self._over)

    def _over(self, given: Sequence[Node]) -> Node | None:
        """How many of the loops around are over, if something that is given in their step depends on their carries."""
        ends = [trace.over for trace in self._tracing if trace.over is not None]
        carries = [carry for trace in self._tracing for carry in trace.carries]
        if not ends or downstream(carries, given).isdisjoint(node.id for node in given):
            return None
        return reduce(add, ends)
