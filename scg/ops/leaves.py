"""Leaves: literals, parameters, inputs, data, state, noise, placeholders of loop bodies.

A leaf's attributes hold all that it is: its name and event shape, and for placeholders its axes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from scg.ir.axes import LANE, ROW, Axes, union
from scg.ir.node import Node, constant, make
from scg.ir.op import Op, Smoothness, register

# Sites are named in printable text, so no site has the path of a derived stream.
_DERIVED, _WITHIN, _SHAPED, _PART = "\x1f", "\x1e", "\x1d", "\x1c"
_BEYOND = re.compile(f"[{_DERIVED}{_SHAPED}{_PART}]")


class Named(NamedTuple):
    """Attributes of a leaf that the user or a pass named."""
    name: str
    shape: tuple[int, ...]
    axes: Axes = ()
    kind: str = "real"
    whole: int = 0  # of a placeholder: see `scg.analysis.integers.Whole`
    called: str = ""  # of a placeholder that stands for a carry: the user's name of it, which text alone reads

    @property
    def naming(self) -> str:
        """The field that holds a name of the user's."""
        return "name"


class Stream(NamedTuple):
    """Attributes of a noise leaf: one stream of random words per element.

    `path` is the site's, or one derived from it (see `derived`); `axes` are those along which draws differ.
    """
    path: str
    shape: tuple[int, ...]
    axes: Axes

    @property
    def naming(self) -> str:
        """The field that holds a name of the user's."""
        return "path"

    @property
    def title(self) -> str:
        """The path in print."""
        return re.sub(f"[{_DERIVED}{_WITHIN}{_PART}]", "/", self.path)

    @property
    def fed(self) -> str:
        """The name of its uniforms where these are fed: steps of one path may be sites of several shapes."""
        return _SHAPED.join([self.path, *map(str, self.shape)])


def _leaf(name: str, **fields: Any) -> Op:
    return register(Op(name, "leaf", shape=lambda args, attrs: attrs.shape, axes=lambda args, attrs: attrs.axes,
                       result=lambda args, attrs: attrs.kind, **fields))


def _const_shape(args, attrs):
    return attrs.shape


const_op = register(Op(
    "const", "leaf", shape=_const_shape, axes=lambda args, attrs: (),
    result=lambda args, attrs: "bool" if attrs.is_boolean else "real",
    bounds=lambda n: n.attrs.interval()))
# a call looks at what it is given: these are real numbers
param_op = _leaf("param", defined=True)
input_op = _leaf("input", defined=True)
data_op = _leaf("data", defined=True)
state_op = _leaf("state", defined=True)
feed_op = _leaf("feed")
placeholder_op = _leaf("placeholder")
GIVEN = {param_op: "param", input_op: "input", data_op: "data"}
"""Leaves whose values the user gives at a call, and what they are called."""


def _same_owner(node: Node, args: tuple[Node, ...], hook) -> Node:
    return make(node.op, args, node.attrs, owner=node.owner)


noise_op = register(Op("noise", "structural", shape=lambda args, attrs: attrs.shape,
                       axes=lambda args, attrs: union(attrs.axes, *(a.axes for a in args)),
                       result="noise", smoothness=Smoothness.BLOCKING,
                       rebuild=_same_owner))


def param(owner, name: str, shape: tuple[int, ...]) -> Node:
    """A leaf that the objective is differentiated with respect to."""
    return make(param_op, (), Named(name, shape), owner=owner)


def input_leaf(owner, name: str, shape: tuple[int, ...]) -> Node:
    """A leaf given at each call, shared by all rows."""
    return make(input_op, (), Named(name, shape), owner=owner)


def data(owner, name: str, shape: tuple[int, ...]) -> Node:
    """A leaf given at each call, one value per row."""
    return make(data_op, (), Named(name, shape, (ROW,)), owner=owner)


def state(owner, name: str, shape: tuple[int, ...]) -> Node:
    """A leaf whose value is carried from one call to the next."""
    return make(state_op, (), Named(name, shape), owner=owner)


def feed(name: str, shape: tuple[int, ...], axes: Axes = (LANE,)) -> Node:
    """A leaf whose value is given per replicate: a fed site, or a point to differentiate a replay at."""
    return make(feed_op, (), Named(name, shape, axes))


def placeholder(name: str, shape: tuple[int, ...], axes: Axes, kind: str = "real", whole: int = 0,
                called: str = "") -> Node:
    """An input of a loop's body; its kind is that of what it stands for, and so is whether it is a whole number."""
    return make(placeholder_op, (), Named(name, shape, axes, kind, whole, called))


def noise(path: str, shape: tuple[int, ...], axes: Axes, step: Node, owner=None) -> Node:
    """A stream of random words per element, lane and step, of the site of a graph."""
    return make(noise_op, (step,), Stream(path, shape, axes), owner=owner)


# What is done to a stream is done to its leaf, so that antithetic, derived, split and fresh streams, by step and along
# worlds, can be made of each other in any order.
def on_leaf(stream: Node, change: Callable[[Node], Node]) -> Node:
    """The stream with `change` made to its leaf: of the antithetic stream, the antithetic one of what it makes."""
    if stream.op is noise_op:
        return change(stream)
    return make(stream.op, (on_leaf(stream.args[0], change),), stream.attrs)


def along(stream: Node, axes: Axes) -> Node:
    """The stream with draws of its own along these axes too."""
    return on_leaf(stream, lambda leaf: _changed(leaf, axes=union(leaf.attrs.axes, axes)))


def split(stream: Node, count: int) -> tuple[Node, ...]:
    """So many streams, of words of their own each: for a sampler that draws several times."""
    return tuple(on_leaf(stream, lambda leaf, i=i: _changed(leaf, path=f"{leaf.attrs.path}{_PART}{i}"))
                 for i in range(count))


def per_element(stream: Node, event: tuple[int, ...]) -> Node:
    """The same words, as draws of their own for every element of each draw, of shape `event`."""
    return on_leaf(stream, lambda leaf: _changed(leaf, shape=(*leaf.attrs.shape, *event)))


def in_shape(stream: Node, shape: tuple[int, ...]) -> Node:
    """The stream with draws of this shape: of a derived stream, for draws that are not one for each of the site's."""
    return on_leaf(stream, lambda leaf: _changed(leaf, shape=shape))


def _changed(leaf: Node, **attrs) -> Node:
    return make(noise_op, leaf.args, leaf.attrs._replace(**attrs), owner=leaf.owner)


def derived(stream: Node, *reason: str, axes: Axes = ()) -> Node:
    """Another stream for the draws of `stream`, of words of its own: for a replay.

    Parameters
    ----------
    stream : Node
        The stream that the draws have in the graph.
    reason : str
        What tells the new stream from others: a tag; before it the replayed site, if that is not the stream's own.
    axes : tuple of Axis
        Axes along which draws differ besides.
    """
    return on_leaf(stream, lambda leaf: _changed(leaf, path=leaf.attrs.path + _DERIVED + _WITHIN.join(reason),
                                                 axes=union(leaf.attrs.axes, axes)))


def own_stream(owner, name: str, tag: str, shape: tuple[int, ...], axes: Axes, step: Node | None = None) -> Node:
    """A stream beside something of the graph that is no site: for what a rule draws for a parameter, in a step."""
    return noise(name + _DERIVED + tag, shape, axes, constant(0.0) if step is None else step, owner=owner)


def is_derived(path: str) -> bool:
    """Whether a path is that of a stream made by `derived` or `split`."""
    return _DERIVED in path or _PART in path


def parts_of_path(path: str) -> Iterator[tuple[str, bool]]:
    """The texts that a path is put together of, in their order, each with whether it is a name of something declared.

    It begins with one, and of the reasons of a stream that was made of another, the last one is a tag, and no name.
    """
    texts = re.split(f"([{_DERIVED}{_WITHIN}{_PART}])", path)
    for i, text in enumerate(texts):
        within = i + 1 < len(texts) and texts[i + 1] == _WITHIN
        yield text, i == 0 or (within and i % 2 == 0)


def site_path(path: str) -> str:
    """The path of the site whose stream this one is, or was made of; `path` may be the name of fed uniforms."""
    return _BEYOND.split(path, maxsplit=1)[0]
