"""Calls of users' functions in plans: at each lane, with numbers and elements of small arrays as they are.

Large arrays, and those that all lanes share, are in a place of their own.
"""

from __future__ import annotations

import math

import numpy as np

from scg.ir.node import Node
from scg.ops.call import given_of, unless_of
from scg.schedule.domains import UNROLLED, domain_of
from scg.schedule.ground import Ground
from scg.schedule.indices import ZERO, Ix, Position, flat
from scg.schedule.language import ArrayOf, Buffer, Element, Expr, Invoke, Load, Loop, Place, Statement, Store, Var
from scg.schedule.scalars import Nest


class CallBuilder(Ground):
    """The part of a builder that plans calls."""

    def call(self, node: Node) -> None:
        """The function's value in every lane and world."""
        callee, buffer, domain = node.attrs[0], self.own_buffer(node), domain_of(node, self.shared)
        args, over = given_of(node), unless_of(node)
        rooms = [self._room(a) for a in args]
        nest, position, headers = self.loops(domain._replace(event=()))
        given = [self._given(nest, a, position, room) for a, room in zip(args, rooms)]
        unless = None if over is None else nest.value(over, nest.argument(over, position))
        arguments = tuple(x for some in given for x in some)
        shapes = tuple(a.shape if room is None and a.shape else None for a, room in zip(args, rooms))
        size = math.prod(node.shape)
        if size <= UNROLLED:
            values = tuple(Var(self.fresh("y"), self.dtype) for _ in range(size))
            nest.do(Invoke(callee, arguments, values, shapes, unless))
            for k, value in enumerate(values):
                nest.do(Store(self._place(node, buffer, position, Ix(k)), value))
        else:
            found = self.allocate(size, None)
            nest.do(Invoke(callee, arguments, found, shapes, unless))
            i = self.index()
            at = Ix(i, nest.depth)
            stored = Store(self._place(node, buffer, position, at), Load(Element(found, at.expr)))
            nest.do(Loop(i, "elements", (stored,), size))
        self.close(nest, headers)
        self.env.ready[node.id] = buffer

    def _place(self, node: Node, buffer: Buffer, position: Position, at: Ix) -> Place:
        """An element of the node, by its place in the event."""
        worlds = [ax for ax in node.axes if not ax.statistical]
        where = flat((*(position.worlds[ax.name] for ax in worlds), at),
                     (*(ax.size for ax in worlds), math.prod(node.shape)))
        return self.element(buffer, where, self.vector)

    def _room(self, node: Node) -> Buffer | None:
        """Where an array is handed over, if it is; filled here if it is the same in all lanes and worlds."""
        if not node.shape or (node.axes and node.size <= UNROLLED):
            return None
        room = self.allocate(math.prod(node.shape), None)
        if not node.axes:
            self.vector = None
            self.write(*self._filled(node, {}, room))
        return room

    def _given(self, nest: Nest, node: Node, position: Position, room: Buffer | None) -> list[Expr]:
        """An argument: a number, the elements of an array, or an array, filled just before the call if it varies."""
        worlds = {ax.name: position.worlds[ax.name] for ax in node.axes if not ax.statistical}
        if room is None:
            return [nest.value(node, Position(worlds, tuple(map(Ix, at)))) for at in np.ndindex(*node.shape)]
        for statement in self._filled(node, worlds, room) if node.axes else ():
            nest.do(statement)
        return [ArrayOf(room, node.shape)]

    def _filled(self, node: Node, worlds: dict[str, Ix], room: Buffer) -> list[Statement]:
        loops = [(self.index(), size) for size in node.shape]
        inner = Nest(0, self)
        event = tuple(ZERO if size == 1 else Ix(i, 0) for i, size in loops)
        value = inner.value(node, Position(worlds, event))
        inner.do(Store(Element(room, flat(event, node.shape).expr), value))
        body = tuple(inner.levels[0])
        for i, size in reversed(loops):
            body = body if size == 1 else (Loop(i, "elements", body, size),)
        return list(body)
