"""Products summed over shared indices: dot, matrix products, and the adjoints of both.

One op, ``contract``, is an einsum of two arguments over event indices *and* axes: an axis of the arguments that is not
kept is reduced, by a sum if it is a world and by an expectation if it is statistical. So the adjoint of a weight is one
contraction (a GEMM), never an outer product that is summed afterwards, and contractions are closed under
differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scg.errors import ShapeError
from scg.ir import digits, draws
from scg.ir.axes import Axes, union
from scg.ir.interval import ANY, Interval
from scg.ir.location import here
from scg.ir.node import FUNCTIONS, Node, as_real, constant, make
from scg.ir.op import Op, register


class Contraction(NamedTuple):
    """Index letters of both arguments and of the result, and the axes that are kept."""

    left: str
    right: str
    out: str
    axes: Axes


def _shape(args, c: Contraction):
    sizes: dict[str, int] = {}
    for letters, node in ((c.left, args[0]), (c.right, args[1])):
        for letter, size in zip(letters, node.shape):
            if sizes.setdefault(letter, size) != size:
                raise ShapeError(
                    str(here() or ""), f"A matrix product of shapes {args[0].shape} and {args[1].shape} was asked for.",
                    f"The dimensions that are summed have sizes {sizes[letter]} and {size}.",
                    "Transpose or reshape one of them.")  # fmt: skip
    return tuple(sizes[letter] for letter in c.out)


def _derivative(g, y, a, b):
    c = y.attrs
    # every axis is kept: the reverse pass reduces, by making this same op reduce
    return (make(contract_op, (g, b), Contraction(c.out, c.right, c.left, union(g.axes, b.axes))),
            make(contract_op, (g, a), Contraction(c.out, c.left, c.right, union(g.axes, a.axes))))


def _text(n: Node) -> str:
    """As a matrix product, which may have transposed arguments, or one with a number; else as NumPy's einsum."""
    left, right, out, _ = n.attrs
    if (not left and right == out) or (not right and left == out):
        number, other = (0, 1) if not left else (1, 0)
        one = n.args[number].is_const and n.args[number].attrs.ask("is", 1.0)
        return f"{{{other}}}" if one else "{0} * {1}"
    summed = [c for c in left if c not in out]
    if len(summed) == 1 and set(left) & set(right) == set(summed) and len(left) < 3 and len(right) < 3:
        (c,) = summed
        first, second = ("{0}" if left.endswith(c) else "{0}.T"), ("{1}" if right.startswith(c) else "{1}.T")
        if out == (left + right).replace(c, ""):
            return f"{first} @ {second}"
    return f'einsum("{left},{right}->{out}", {{0}}, {{1}})'


contract_op = register(Op("contract", "structural", reduces=True, shape=_shape, axes=lambda args, attrs: attrs.axes,
                          derivative=_derivative, integral="closed", bounds=lambda n, a, b: _bounds(n, a, b),
                          rebuild=lambda n, args, hook: _rebuilt(n, args),
                          multiplies=True, defined=True, magnitude=digits.product,
                          depends=lambda n, of: _depends(n, of),
                          constant_sums=lambda n, of, within: _constant_sums(n, of), text=_text))


def _bounds(n: Node, a: Interval, b: Interval) -> Interval:
    if n.axes != union(*(arg.axes for arg in n.args)):
        return ANY
    c = n.attrs
    sizes = dict(zip(c.left + c.right, n.args[0].shape + n.args[1].shape))
    product = a.power(2) if n.args[0] is n.args[1] and c.left == c.right else a.times(b)
    return product.repeated(int(np.prod([size for letter, size in sizes.items() if letter not in c.out], dtype=int)))


def _constant_sums(n: Node, of: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Along a dimension of one factor: its sums are the same for all that is summed, and the other factor's weigh them.

    So a row of weights that add up to 1, times rows that do, is one.
    """
    c = n.attrs
    letters, summed = (c.left, c.right), [x for x in dict.fromkeys(c.left + c.right) if x not in c.out]
    if n.axes != union(*(arg.axes for arg in n.args)) or len(summed) != 1:
        return {}

    def along(which: int, letter: str) -> float | None:
        own = letters[which]
        return of[which].get(own.index(letter) - len(own)) if letter in own else None

    found = {}
    for i, letter in enumerate(c.out):
        for which in (0, 1):
            mine, weights = along(which, letter), along(1 - which, summed[0])
            if mine is not None and weights is not None and letter not in letters[1 - which]:
                found[i - len(c.out)] = mine * weights
    return found


def _rebuilt(n: Node, args: tuple[Node, ...]) -> Node:
    """The same reductions of other arguments: a sum over a world along which they no longer vary is a product."""
    have = union(*(a.axes for a in args))
    reduced = {ax.name: ax for a in n.args for ax in a.axes if ax not in n.axes}
    new = make(contract_op, args, n.attrs._replace(axes=tuple(ax for ax in have if ax.name not in reduced)))
    lost = [ax.size for ax in reduced.values() if not ax.statistical and ax not in have]
    return new * float(np.prod(lost)) if lost else new


def _depends(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    """Each argument's sets, united over what is summed, and then those of both; without what a literal 0 multiplies."""
    out = n.attrs.out
    for which, literal in enumerate(n.args):
        if draws.has_zeros(literal):
            return _weighed(n, of[1 - which], which)
    if not draws.told_apart(of):
        return draws.of_all(of)
    sides = []
    for sets, arg, letters in zip(of, n.args, (n.attrs.left, n.attrs.right)):
        found = draws.whole(sets, arg)
        for d in range(len(letters) - 1, -1, -1):
            if letters[d] not in out:
                found = np.asarray(np.bitwise_or.reduce(found, axis=d), dtype=object)
        kept = [c for c in letters if c in out]
        found = np.transpose(found, sorted(range(len(kept)), key=lambda i: out.index(kept[i])))
        sides.append(found.reshape(tuple(size if c in kept else 1 for c, size in zip(out, n.shape))))
    return np.broadcast_to(sides[0] | sides[1], n.shape)


def _weighed(n: Node, sets: draws.Draws, which: int) -> np.ndarray:
    """The sets of a sum of products with the numbers of a literal, the argument `which`."""
    letters = n.attrs.left, n.attrs.right
    sizes = {c: size for of, arg in zip(letters, n.args) for c, size in zip(of, arg.shape)}
    order = [*n.attrs.out, *(c for c in sizes if c not in n.attrs.out)]
    if math.prod(sizes.values()) > draws.MOST_ELEMENTS:
        return np.broadcast_to(np.array(draws.united(sets), dtype=object), n.shape)

    def aligned(array: np.ndarray, own: str) -> np.ndarray:
        array = np.transpose(array, sorted(range(len(own)), key=lambda i: order.index(own[i])))
        return array.reshape([sizes[c] if c in own else 1 for c in order])

    weights = aligned(n.args[which].attrs.array != 0, letters[which])
    found = np.where(weights, aligned(draws.whole(sets, n.args[1 - which]), letters[1 - which]), 0)
    while found.ndim > len(n.shape):
        found = np.asarray(np.bitwise_or.reduce(found, axis=-1), dtype=object)
    return np.broadcast_to(found, n.shape)


def contract(a: Node, b: Node, left: str, right: str, out: str) -> Node:
    """``einsum(f"{left},{right}->{out}", a, b)`` over event dimensions, keeping all axes."""
    a, b = as_real(constant(a)), as_real(constant(b))
    return make(contract_op, (a, b), Contraction(left, right, out, union(a.axes, b.axes)))


def matmul(a, b) -> Node:
    """NumPy's matrix product of vectors and matrices (stacks of matrices along leading dimensions included)."""
    a, b = as_real(constant(a)), as_real(constant(b))
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(str(here() or ""), "A matrix product with a scalar was asked for.",
                         f"The shapes are {a.shape} and {b.shape}.", "Use * instead of @.")
    letters = "abcdefgh"[: max(a.ndim, b.ndim, 2) - 2]
    (a, stack_a), (b, stack_b) = _stack(a, b, letters), _stack(b, a, letters)
    left = stack_a + ("ij" if a.ndim > 1 else "j")
    right = stack_b + ("jk" if b.ndim > 1 else "j")
    out = letters + ("i" if a.ndim > 1 else "") + ("k" if b.ndim > 1 else "")
    return contract(a, b, left, right, out)


def _stack(node: Node, other: Node, letters: str) -> tuple[Node, str]:
    """The letters of a stack of matrices; dimensions of size 1 that the other stack repeats are taken out."""
    sizes = node.shape[:-2]
    own = letters[len(letters) - len(sizes):]
    theirs = dict(zip(reversed(letters), reversed(other.shape[:-2])))
    kept = [i for i, letter in enumerate(own) if sizes[i] != 1 or theirs.get(letter, 1) == 1]
    if len(kept) < len(own):
        node = FUNCTIONS["reshape"](node, tuple(sizes[i] for i in kept) + node.shape[-2:])
    return node, "".join(own[i] for i in kept)


def dot(a, b) -> Node:
    """NumPy's dot: a product with scalars, else the last dimension of `a` against the last but one of `b`."""
    a, b = as_real(constant(a)), as_real(constant(b))
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if b.ndim < 3:
        return matmul(a, b)
    rows, stack = "abcdefgh"[: a.ndim - 1], "nopqrstu"[: b.ndim - 2]
    return contract(a, b, rows + "j", stack + "jk", rows + stack + "k")


def outer(a, b) -> Node:
    """All products of the elements of two vectors; other arrays are flattened."""
    a, b = (FUNCTIONS["reshape"](constant(n), (-1,)) for n in (a, b))
    return contract(a, b, "i", "j", "ij")


def _value(n: Node, arrays, measure=None):
    """NumPy value; `measure` weights the lanes where the exact law integrates over them."""
    c = n.attrs
    every = union(*(a.axes for a in n.args))
    letters = {ax.name: chr(ord("A") + i) for i, ax in enumerate(every)}
    subs = ["".join(letters[ax.name] for ax in a.axes) + s for a, s in zip(n.args, (c.left, c.right))]
    target = "".join(letters[ax.name] for ax in c.axes) + c.out
    sizes = {ax.name: s for v, a in zip(arrays, n.args) for ax, s in zip(a.axes, v.shape)}
    reduced = [ax for ax in every if ax.statistical and ax.name not in {k.name for k in c.axes}]
    a, b = arrays
    scale = 1.0
    for ax in reduced:
        if ax.name == "lane" and measure is not None:
            side = 0 if any(x.name == "lane" for x in n.args[0].axes) else 1
            where = [x.name for x in n.args[side].axes].index("lane")
            weights = measure.reshape((-1,) + (1,) * (arrays[side].ndim - where - 1))
            a, b = (a * weights, b) if side == 0 else (a, b * weights)
        else:
            scale /= sizes[ax.name]
    out = np.einsum(f"{subs[0]},{subs[1]}->{target}", a, b, optimize=True)
    return out * scale if scale != 1.0 else out


def value_in_order(n: Node, arrays):
    """NumPy value of a contraction that sums over no rows or lanes: rounded products, added one after the other.

    The order is that of a kernel: worlds before letters, letters in their order. NumPy's own products are fused and
    added in an order that depends on the machine.
    """
    c = n.attrs
    names = {ax.name: chr(ord("A") + i) for i, ax in enumerate(union(*(a.axes for a in n.args)))}
    subs = ["".join(names[ax.name] for ax in a.axes) + s for a, s in zip(n.args, (c.left, c.right))]
    target = "".join(names[ax.name] for ax in c.axes) + c.out
    sizes = {letter: size for sub, array in zip(subs, arrays) for letter, size in zip(sub, array.shape)}
    summed = sorted(set("".join(subs)) - set(target))  # capitals, which stand for worlds, come first
    total = np.zeros(tuple(sizes[letter] for letter in target), np.result_type(*arrays))
    for index in np.ndindex(tuple(sizes[letter] for letter in summed)):
        at = dict(zip(summed, index))
        parts = [array[tuple(at.get(letter, slice(None)) for letter in sub)] for sub, array in zip(subs, arrays)]
        kept = ["".join(letter for letter in sub if letter not in at) for sub in subs]
        total += np.einsum(f"{kept[0]},{kept[1]}->{target}", *parts)
    return total


contraction_value = _value
FUNCTIONS.update({"matmul": matmul, "dot": dot})
