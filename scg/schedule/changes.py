"""Sums over elements that each world shifts by a step, in plans, block by block.

Changes of a sum of softplus are the logarithm of a product. A factor is σ(−x) + σ(x) eᵈʷ, which lies between e⁻|w| and
e|w|. So the product of a block is a number of the working type, unless a world's steps are so large that each change is
better computed by itself. Weighted sums of σ(x + d w) are those of 1 / (1 + e⁻ˣ e⁻ᵈʷ), for steps that are no larger.
Blocks are the outer loop: what their elements have in all worlds then stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scg.ir.node import Node
from scg.ops.arithmetic import abs_op, add_op, div_op, mul_op, sub_op
from scg.ops.elementary import log_op, sigmoid_op, softplus_op
from scg.schedule.domains import Domain, domain_of
from scg.schedule.ground import Ground
from scg.schedule.indices import ZERO, Ix, Position, plus, scaled
from scg.schedule.language import Add, Apply, AtMost, Buffer, Choose, Expr, If, Less, Load, Loop, Statement, Store, Var
from scg.schedule.scalars import Nest

BLOCK = 16  # factors
MOST = {"float32": 80.0 / BLOCK, "float64": 700.0 / BLOCK}  # |w|: e⁸⁰ and e⁷⁰⁰ are well within these types


class ChangeBuilder(Ground):
    """The part of a builder that plans sums that each world shifts."""

    def softplus_changes(self, node: Node) -> None:
        """Changes of a sum of softplus."""
        self._by_blocks(node, _Changes)

    def sigmoid_sums(self, node: Node) -> None:
        """A weighted sum of sigmoids."""
        self._by_blocks(node, _Weighted)

    def _by_blocks(self, node: Node, of_block: type[_Changes]) -> None:
        """Blocks of elements, and in each of them all worlds."""
        domain, buffer = domain_of(node, self.shared), self.own_buffer(node)
        totals, product = self.totals_of(buffer, buffer.elements), self.allocate(1, domain.vector)
        self.write(self.cleared(totals))
        blocks, rest = divmod(node.args[0].size, BLOCK)
        number = self.index()
        for block, count, of in ((Ix(number), BLOCK, blocks), (Ix(blocks), rest, 1 if rest else 0)):
            with self.block() as body:
                of_block(self, node, domain, scaled(block, BLOCK), count, product, totals).in_all_worlds()
            self.write(*([Loop(number, "elements", tuple(body), of)] if not block.known else body if of else ()))
        self.write(*self.narrowed(buffer, totals))
        self.env.ready[node.id] = buffer


class _Changes:
    """The changes of so many elements from one on, which are added to the totals of each world."""

    def __init__(self, builder: Ground, node: Node, domain: Domain, first: Ix, count: int, product: Buffer,
                 totals: Buffer):
        self.builder, self.node, self.domain, self.first, self.count = builder, node, domain, first, count
        self.product, self.totals = product, totals
        self.worlds: Mapping[str, Ix] = {name: Ix(builder.index()) if size > 1 else ZERO
                                         for name, size in domain.worlds}

    def in_all_worlds(self) -> None:
        """Loops over the worlds: in each, products where the largest step allows it, else each change by itself."""
        b = self.builder
        with b.block() as body:
            nest, _, headers = b.loops(Domain((), (), None))
            steepest = self._of(nest, self.node.args[-1], ZERO)
            few = AtMost(steepest, nest.number(MOST[b.dtype]))
            nest.do(If(few, self._multiplied(), self._one_by_one()))
            b.close(nest, headers)
        for name, size in reversed(self.domain.worlds):
            if size > 1:
                body = [Loop(self._index(name), "elements", tuple(body), size)]
        b.write(*body)

    def _index(self, name: str) -> Var:
        index = self.worlds[name].expr
        assert isinstance(index, Var)
        return index

    # --- nests ------------------------------------------------------------------------------------------------------
    def _multiplied(self) -> tuple[Statement, ...]:
        """The logarithm of the product of the factors: none where nothing is turned, whatever they are rounded to."""
        _, turn, _, low, high, up, down, _ = self.node.args

        def begin(nest: Nest, at: Ix) -> None:
            nest.do(Store(self._product(), nest.number(1.0)))

        def multiply(nest: Nest, at: Ix) -> None:
            ahead = nest.let(Less(nest.number(0.0), self._of(nest, turn, at)), nest.depth, "bool")
            power = nest.let(Choose(self._of(nest, up, at), ahead, self._of(nest, down, at)), nest.depth)
            factor = nest.plus(self._of(nest, low, at), nest.times(self._of(nest, high, at), power))
            nest.do(Store(self._product(), Apply(mul_op, (Load(self._product()), factor), nest.dtype)))

        def end(nest: Nest, at: Ix) -> None:
            turned = nest.let(Apply(abs_op, (self._of(nest, turn, at),), nest.dtype), nest.depth)
            change = nest.let(Apply(log_op, (Load(self._product()),), nest.dtype), nest.depth)
            self._add(nest, nest.times(turned, change))

        return (*self._nest((), begin), *self._nest((self.count,), multiply), *self._nest((), end))

    def _one_by_one(self) -> tuple[Statement, ...]:
        def change(nest: Nest, at: Ix) -> None:
            x, turn, step = (self._of(nest, arg, at) for arg in self.node.args[:3])
            after, before = (nest.let(Apply(softplus_op, (value,), nest.dtype), nest.depth)
                             for value in (nest.plus(x, nest.times(turn, step)), x))
            self._add(nest, nest.let(Apply(sub_op, (after, before), nest.dtype), nest.depth))

        return self._nest((self.count,), change)

    def _nest(self, event: tuple[int, ...], write: Callable[[Nest, Ix], None]) -> tuple[Statement, ...]:
        b = self.builder
        with b.block() as body:
            nest, inner, headers = b.loops(Domain((), event, self.domain.vector))
            write(nest, plus(self.first, inner.event[0]) if event else ZERO)
            b.close(nest, headers)
        return tuple(body)

    # --- elements ---------------------------------------------------------------------------------------------------
    def _of(self, nest: Nest, arg: Node, at: Ix) -> Expr:
        return nest.value(arg, nest.argument(arg, Position(self.worlds, (at,))))

    def _product(self):
        return self.builder.element(self.product, ZERO, self.builder.vector)

    def _add(self, nest: Nest, change: Expr) -> None:
        b, at = self.builder, Position(self.worlds, ())
        nest.do(Add(b.element(self.totals, b.flat_of(self.node, at), b.vector), change))


class _Weighted(_Changes):
    """A weighted sum of σ(x + d w) of so many elements from one on."""

    def _multiplied(self) -> tuple[Statement, ...]:
        """By e⁻ˣ e⁻ᵈʷ, which is infinite at most where σ is 0; the sum of a block in the working type."""
        _, turn, _, weights, low, down, up, _ = self.node.args

        def begin(nest: Nest, at: Ix) -> None:
            nest.do(Store(self._product(), nest.number(0.0)))

        def add(nest: Nest, at: Ix) -> None:
            turned = self._of(nest, turn, at)
            ahead = nest.let(Less(nest.number(0.0), turned), nest.depth, "bool")
            back = nest.let(Less(turned, nest.number(0.0)), nest.depth, "bool")
            power = nest.let(Choose(self._of(nest, up, at), back, nest.number(1.0)), nest.depth)
            power = nest.let(Choose(self._of(nest, down, at), ahead, power), nest.depth)
            below = nest.plus(nest.number(1.0), nest.times(self._of(nest, low, at), power))
            term = nest.let(Apply(div_op, (self._of(nest, weights, at), below), nest.dtype), nest.depth)
            nest.do(Store(self._product(), Apply(add_op, (Load(self._product()), term), nest.dtype)))

        def end(nest: Nest, at: Ix) -> None:
            self._add(nest, Load(self._product()))

        return (*self._nest((), begin), *self._nest((self.count,), add), *self._nest((), end))

    def _one_by_one(self) -> tuple[Statement, ...]:
        def add(nest: Nest, at: Ix) -> None:
            x, turn, step, weight = (self._of(nest, arg, at) for arg in self.node.args[:4])
            chance = nest.let(Apply(sigmoid_op, (nest.plus(x, nest.times(turn, step)),), nest.dtype), nest.depth)
            self._add(nest, nest.times(weight, chance))

        return self._nest((self.count,), add)
