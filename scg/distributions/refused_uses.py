"""What distributions cannot do: whatever needs a value. A distribution says what is drawn; a draw is a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scg.errors import NodeUseError
from scg.ir.location import here

SITES = 'A draw is a site of a graph: g.sample("name", distribution).'


def _refuses(use: str) -> Callable[..., Any]:
    def refused(self, *args, **kwargs):
        raise NodeUseError(str(here() or ""), f"A distribution, {type(self).__name__}(…), was {use}.",
                           "It says what is drawn and is no value itself.", f"{SITES} Use what that returns.")

    return refused


class RefusedAsValue:
    """The methods of Python's and NumPy's protocols that distributions refuse."""

    __slots__ = ()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuses("used in arithmetic")
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __add__
    __divmod__ = __rdivmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __add__
    __neg__ = __pos__ = __abs__ = __round__ = __floor__ = __ceil__ = __trunc__ = __add__
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = __add__
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __add__
    # Two distributions are compared too where a list is searched for one; but False for "their draws are equal" would
    # be a number that nobody meant.
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuses("compared")
    __hash__ = object.__hash__
    __bool__ = _refuses("used as a truth value")
    __float__ = __int__ = __complex__ = _refuses("converted to a number")
    __index__ = _refuses("used as a whole number: an index, a length or a count")
    __getitem__ = __setitem__ = __delitem__ = _refuses("indexed")
    __len__ = __iter__ = __contains__ = __reversed__ = _refuses("used as a sequence")
    __call__ = _refuses("called")
    __array__ = _refuses("used as a number or an array")
    __array_ufunc__ = __array_function__ = _refuses("given to a function of NumPy")
