"""Noise that stands on a page, and how the draws are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scg.analysis.influence import SiteNode
from scg.ir.node import Node
from scg.ir.traverse import substitute, topological
from scg.ops.control import stop_gradient
from scg.ops.leaves import noise_op
from scg.ops.randomness import distribution_of, uniform_op
from scg.ops.scan import scan_op
from scg.ops.special import ndtri_op


def is_noise(n: Node) -> bool:
    """Whether it is a uniform of a stream, or its normal quantile."""
    u = n.args[0] if n.op is ndtri_op else n
    return u.op is uniform_op and u.args[0].op is noise_op


def made_of_noise(p: SiteNode, shown: Iterable[Node]) -> Node | None:
    """A draw as its family makes it of its uniform, not differentiated; None if that is nowhere in what is `shown`."""
    stream = p.node.args[-1]
    if stream.op is not noise_op:
        return None
    there = next((n for n in _with_steps(shown) if n.op is uniform_op and is_noise(n) and not n.attrs.number and
                  n.args[0].attrs.path == stream.attrs.path), None)
    if there is None:
        return None
    made = distribution_of(p.node).sample(stream)
    own = [n for n in topological([made]) if n.op is uniform_op and not n.attrs.number]
    made = substitute([made], dict.fromkeys(own, there))[0]
    return made if p.node.attrs.family.support.integral else stop_gradient(made)


def _with_steps(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes, and those of the steps of loops."""
    for n in nodes:
        yield n
        if n.op is scan_op:
            yield from _with_steps(topological([*n.attrs.outputs, *n.attrs.new_carries]))
