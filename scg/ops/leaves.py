"""Leaves: literals, parameters, inputs, data, state, noise, placeholders of loop bodies.

A leaf's attributes hold all that it is: its name and event shape, and for placeholders its axes too.
"""

from __future__ import annotations

from typing import NamedTuple

from scg.ir.axes import LANE, ROW, Axes, union
from scg.ir.interval import of_array
from scg.ir.node import Node, make
from scg.ir.op import Op, Smoothness, register

# Sites are named in printable text, so no site has the path of a derived stream.
_DERIVED, _WITHIN, _SHAPED = "\x1f", "\x1e", "\x1d"


class Named(NamedTuple):
    """Attributes of a leaf that the user or a pass named."""

    name: str
    shape: tuple[int, ...]
    axes: Axes = ()
    kind: str = "real"
    whole: int = 0  # of a placeholder: see `scg.analysis.integers.Whole`


class Stream(NamedTuple):
    """Attributes of a noise leaf: one stream of random words per element.

    `path` is the site's, or one derived from it (see `derived`); `axes` are those along which draws differ.
    """

    path: str
    shape: tuple[int, ...]
    axes: Axes

    @property
    def title(self) -> str:
        """The path in print."""
        return self.path.replace(_DERIVED, "/").replace(_WITHIN, "/")

    @property
    def fed(self) -> str:
        """The name of its uniforms where these are fed: steps of one path may be sites of several shapes."""
        return _SHAPED.join([self.path, *map(str, self.shape)])


def _leaf(name: str) -> Op:
    return register(Op(name, "leaf", shape=lambda args, attrs: attrs.shape, axes=lambda args, attrs: attrs.axes,
                       result=lambda args, attrs: attrs.kind))


def _const_shape(args, attrs):
    return attrs.array.shape


const = register(Op("const", "leaf", shape=_const_shape, axes=lambda args, attrs: (),
                    result=lambda args, attrs: "bool" if attrs.array.dtype == bool else "real",
                    bounds=lambda n: of_array(n.attrs.array)))
param_op = _leaf("param")
input_op = _leaf("input")
data_op = _leaf("data")
state_op = _leaf("state")
feed_op = _leaf("feed")
placeholder_op = _leaf("placeholder")


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
    """A leaf whose value is given per replicate: a fed site, or a cut to differentiate a replay by."""
    return make(feed_op, (), Named(name, shape, axes))


def placeholder(name: str, shape: tuple[int, ...], axes: Axes, kind: str = "real", whole: int = 0) -> Node:
    """An input of a loop's body; its kind is that of what it stands for, and so is whether it is a whole number."""
    return make(placeholder_op, (), Named(name, shape, axes, kind, whole))


def noise(path: str, shape: tuple[int, ...], axes: Axes, step: Node, owner=None) -> Node:
    """A stream of random words per element, lane and step, of the site of a graph."""
    return make(noise_op, (step,), Stream(path, shape, axes), owner=owner)


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
    path = stream.attrs.path + _DERIVED + _WITHIN.join(reason)
    return noise(path, stream.attrs.shape, union(stream.attrs.axes, axes), *stream.args, owner=stream.owner)


def is_derived(path: str) -> bool:
    """Whether a path is that of a stream made by `derived`."""
    return _DERIVED in path


def site_path(path: str) -> str:
    """The path of the site whose stream this one is, or was derived from; `path` may be the name of fed uniforms."""
    return path.partition(_DERIVED)[0].partition(_SHAPED)[0]
