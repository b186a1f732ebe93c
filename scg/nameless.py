"""What calls of a function need, without the user's names: marks stand for these until other ones are put there.

Names are printable, and marks are not, nor what a stream's path is put together by. So it is plain what of a text is
whose name; where it is not, the function keeps the names that it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scg.compiled import Needed
from scg.noise import check_collisions
from scg.ops.leaves import parts_of_path
from scg.program import Layout, Slot

_MARK = re.compile("\x00([0-9]+)\x00")
_OF_DECLARED = ("cost", "grad", "row grad", "batches")  # roles of outputs that are called as something declared is
_GIVEN = ("param", "input", "data")


class _Unknown(Exception):
    """A text is not a name of the user's, though it may be made of one."""


def marked(needed: Needed, names: Mapping[str, int]) -> Needed | None:
    """What calls need, with marks for names; None if there are texts of which it is not plain what they say.

    Parameters
    ----------
    needed : Needed
    names : dict of str to int
        All names of the graph, and the paths of its sites' noise, with their numbers.
    """
    layout = needed.layout
    if needed.notes or needed.initial or layout.records or layout.uncoupled is not None:
        return None
    try:
        return _laid_out(needed, replace(
            layout, name="", wrt=tuple(_mark(name, names) for name in layout.wrt),
            scored=tuple(_mark(name, names) for name in layout.scored),
            relaxed=tuple(_mark(name, names) for name in layout.relaxed),
            means=tuple(_slot(slot, names) for slot in layout.means),
            by_row=tuple(_slot(slot, names) for slot in layout.by_row),
            leaves=tuple(leaf._replace(name=_mark(leaf.name if leaf.role in _GIVEN else "", names))
                         for leaf in layout.leaves),
            paths=tuple(_path(path, names) for path in layout.paths)))
    except _Unknown:
        return None


def unmarked(needed: Needed, names: Sequence[str], title: str) -> Needed | None:
    """What calls of a graph with these names need, of a certain title; None if the order of streams would be another.

    Streams are in the order of their paths, and no two of them may have the same words.
    """
    def name(text: str) -> str:
        return _MARK.sub(lambda found: names[int(found[1])], text)

    layout = needed.layout
    paths = tuple(map(name, layout.paths))
    try:
        check_collisions(paths)
    except ValueError:  # who compiles it says so
        return None
    if list(paths) != sorted(paths):
        return None
    return _laid_out(needed, replace(
        layout, name=title, wrt=tuple(map(name, layout.wrt)), scored=tuple(map(name, layout.scored)),
        relaxed=tuple(map(name, layout.relaxed)), paths=paths,
        means=tuple(slot._replace(name=name(slot.name)) for slot in layout.means),
        by_row=tuple(slot._replace(name=name(slot.name)) for slot in layout.by_row),
        leaves=tuple(leaf._replace(name=name(leaf.name)) for leaf in layout.leaves)))


def _laid_out(needed: Needed, layout: Layout) -> Needed:
    kernel: Any = needed.kernel
    return needed._replace(layout=layout, kernel=kernel.of_layout(layout))


def _mark(name: str, names: Mapping[str, int]) -> str:
    if name not in names:
        raise _Unknown
    return f"\x00{names[name]}\x00"


def _slot(slot: Slot, names: Mapping[str, int]) -> Slot:
    if not slot.name:  # what nobody asks for by name; or the sum of all costs
        return slot
    if slot.role not in _OF_DECLARED:
        raise _Unknown
    return slot._replace(name=_mark(slot.name, names))


def _path(path: str, names: Mapping[str, int]) -> str:
    return "".join(_mark(text, names) if named else text for text, named in parts_of_path(path))
