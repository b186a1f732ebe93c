"""Where a site is drawn in the steps of loops, one inside the other: its step counted through all, and edits of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from scg.analysis.influence import sites
from scg.ir.node import Node
from scg.ir.said import carry_over
from scg.ir.traverse import Hook, Substitution, downstream, rebuild, substitute, topological
from scg.ops.leaves import placeholder
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import Opened, open_scan, scan_op
from scg.ops.structure import reshape

Opening = Callable[[Node], Opened]
"""How a scan is opened."""


class Step(NamedTuple):
    """A site in the loop that draws it.

    Attributes
    ----------
    opened : Opened
        The innermost of the loops.
    draw : Node
        The sample node.
    number : Node
        The step, counted through all loops.
    values : tuple of Node
        Of the arrays that the loops were made to run along, the leaves for this step.
    """

    opened: Opened
    draw: Node
    number: Node
    values: tuple[Node, ...]


def drawn_in(opened: Opened, site: str) -> Node | None:
    """The sample node of a site in the steps of a loop; None if it is in a loop inside that, or nowhere."""
    return next((n for n in topological(opened.outputs) if n.op is sample_op and n.attrs.site == site), None)


def holds(scan: Node, site: str) -> bool:
    """Whether a site is drawn in the steps of a scan, or of one inside it."""
    return any(found.name == site for found in sites(scan.attrs.outputs))


def inner(opened: Opened, site: str) -> list[Node]:
    """The scans inside the step of one in which a site is drawn, those upstream first."""
    within = downstream((opened.step, *opened.carries, *opened.xs), opened.outputs)
    return [n for n in topological(opened.outputs) if n.op is scan_op and n.id in within and holds(n, site)]


def running_along(opened: Opened, array: Node, name: str, site: str) -> tuple[Opened, Node]:
    """The scan, running along an array too (see `leaf_along`), and the leaf."""
    leaf, array = leaf_along(opened, array, name, site)
    return replace(opened, xs=(*opened.xs, leaf), arrays=(*opened.arrays, array)), leaf


def leaf_along(opened: Opened, array: Node, name: str, site: str) -> tuple[Node, Node]:
    """A leaf that holds what an array has for one step of a scan, and the array as the scan runs along it.

    It has a leading dimension for the steps of the scan, and of those inside it in which the site is drawn, together.
    """
    if drawn_in(opened, site) is None:
        array = reshape(array, (opened.length, array.shape[0] // opened.length, *array.shape[1:]))
    return placeholder(f"{opened.step.attrs.name} {name}", array.shape[1:], array.axes), array


def edited(roots: Sequence[Node], site: str, edit: Callable[[Step], Opened], opening: Opening = open_scan, *,
           along: Sequence[tuple[Node, str]] = (), hook: Hook | None = None) -> list[Node]:
    """The roots, with every scan that draws the site edited, wherever it stands.

    Parameters
    ----------
    roots : sequence of Node
    site : str
    edit : callable
        ``edit(step) -> opened``: what becomes of the innermost scan.
    opening : callable
    along : sequence of pairs
        Arrays that have a leading dimension for the steps, and what they are called.
    hook : callable, optional
        Of the substitution outside of the innermost scan.
    """
    scans = [n for n in topological(roots) if n.op is scan_op and holds(n, site)]
    return _edited(roots, scans, site, edit, opening, along, hook, None)


def _edited(roots: Sequence[Node], scans: Sequence[Node], site: str, edit: Callable[[Step], Opened], opening: Opening,
            along: Sequence[tuple[Node, str]], hook: Hook | None, before: Node | None) -> list[Node]:
    new = Substitution(hook=hook)
    for node in scans:  # a loop may run along what another one with the site puts out
        opened = opening(rebuild(node, tuple(map(new, node.args))))
        new.put(node, _step(opened, site, edit, opening, along, hook, before).close())
    found = [new(root) for root in roots]
    if before is not None and hook is None:
        carry_over(roots, new)
    return found


def _step(opened: Opened, site: str, edit: Callable[[Step], Opened], opening: Opening,
          along: Sequence[tuple[Node, str]], hook: Hook | None, before: Node | None) -> Opened:
    values = []
    for array, name in along:
        opened, leaf = running_along(opened, array, name, site)
        values.append((leaf, name))
    number = opened.step if before is None else before * float(opened.length) + opened.step
    draw = drawn_in(opened, site)
    if draw is not None:
        return edit(Step(opened, draw, number, tuple(leaf for leaf, _ in values)))
    scans, k = inner(opened, site), len(opened.carries)
    outputs = _edited(opened.outputs, scans, site, edit, opening, values, hook, number)
    return replace(opened, new_carries=tuple(outputs[:k]), ys=tuple(outputs[k:]))


def moved_parameters(step: Step, names: Sequence[str]) -> Opened:
    """The loop, with parameters of the draw moved by what it runs along, where it puts something out; draws stay."""
    opened, params = step.opened, distribution_of(step.draw).params
    mapping = {n: n for n in topological(opened.ys) if n.op is sample_op}
    mapping.update((params[name], params[name] + leaf) for name, leaf in zip(names, step.values))
    return replace(opened, ys=tuple(substitute(opened.ys, mapping)))


def put_out(opened: Opened, site: str, quantity: Callable[[Node], Node], opening: Opening = open_scan) -> Node:
    """A quantity of a site's sample node, put out step by step, in one leading dimension for the steps of all loops."""
    draw = drawn_in(opened, site)
    if draw is not None:
        return opened.put_out([quantity(draw)])[0]
    scan = inner(opened, site)[0]
    found = put_out(opening(scan), site, quantity, opening)
    instead = next(n for n in topological([found]) if n.op is scan_op and holds(n, site))
    array = opened.mapped({scan: instead}).put_out([found])[0]
    return reshape(array, (array.shape[0] * array.shape[1], *array.shape[2:]))
