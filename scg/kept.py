"""What a compiled function needs, kept for the next process, which then neither derives nor plans.

It is found under a digest of all that it was made of: the graph as it is declared, without the user's lines and names,
and without the numbers in it that are not whole; the strategy and the options; the files of this package and of the
backend, and the versions of what they stand on. Where something of the user's own is in it, a function or a class,
nothing is kept: its code could change and keep its name. What says names, or lines, is found where these are the same.

Beside it stands what was looked at of the numbers. It is found where all of that would be seen again (`scg.ir.alike`),
and is given the new ones. What is found is enough to call the function. Whoever looks into it derives the rest from
the graph.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import metadata
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from scg.backend import load
from scg.compiled import Derived, Needed
from scg.errors import Problem
from scg.function import EstimatorFunction
from scg.initial import starts_of
from scg.ir.alike import Guard, guard_of
from scg.ir.location import derived_from, here
from scg.ir.looks import Looks, watched
from scg.ir.node import literals
from scg.ir.op import OPS
from scg.ir.structure import Called, Structure, structure_of
from scg.nameless import marked, unmarked
from scg.ops.scan import keys_below

_OPS = frozenset(OPS)  # ours: all of them are there before anybody can add one
_UNSAID = ("_home", "_taken", "inits", "name", "names", "sites", "per_step")  # lines, starts; or said in another way
_BELOW = ("numpy", "numba", "llvmlite", "scipy")
MOST = 8  # functions of graphs that differ in numbers
_UNTOLD = Problem("", "", "", "")
_ROOT = os.path.dirname(os.path.abspath(__file__))


class Recalled(NamedTuple):
    """What is kept of a function: what calls need, and whether its estimators bring params of their own."""

    needed: Needed
    brings: bool


class Variant(NamedTuple):
    """A function among those of graphs that differ in numbers, as bytes, and of which numbers it is one."""

    guard: Guard
    data: bytes


class MadeOf(NamedTuple):
    """What a function is made of, the names in it, what the graph is called, and by which keys its loops carry."""

    structure: Structure
    names: tuple[str, ...]
    title: str
    keys: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each name."""
        return {name: i for i, name in enumerate(self.names)}


def recalled(graph, options: Mapping[str, Any], derived: Callable[[Any], Derived],
             seconds: Mapping[str, float]) -> tuple[Any, MadeOf | None]:
    """The function of an earlier process, if there is one, and what it was made of, if that can be told.

    Parameters
    ----------
    graph : Graph
    options : dict
        Of `scg.compile`.
    derived : callable
        What would be compiled of the graph, for whoever looks into the function.
    seconds : dict of str to float
        What went before, and took so long.

    Returns
    -------
    function : EstimatorFunction or None
    made_of : MadeOf or None
    """
    began = perf_counter()
    read = getattr(load(options["backend"]), "recall", None)
    made_of = _structure(graph, options) if read is not None else None
    if read is None or made_of is None:
        return None, None
    for name in _names(made_of):
        found = _read(read(name), made_of)
        if found is not None and not _edited(options["backend"]):
            kept, place = graph.as_it_is(), here()

            def later() -> Derived:
                with derived_from(place):  # the line that would have been here, had it been derived at once
                    return derived(kept)

            starts = None if found.brings else starts_of(kept)
            took = {**seconds, "finding what was compiled before": perf_counter() - began}
            return EstimatorFunction(found.needed, later, dict(options), took, starts), made_of
    return None, made_of


def watching(made_of: MadeOf | None) -> AbstractContextManager[Looks | None]:
    """Watch what is looked at of the numbers that a function is made of, if it will be kept."""
    return nullcontext() if made_of is None else watched(made_of.structure.literals, literals)


def keep(f: EstimatorFunction, made_of: MadeOf | None, looks: Looks | None) -> None:
    """Keep a function under what it was made of, and with what was looked at of its numbers."""
    if made_of is None or looks is None or _edited(f._options["backend"]):
        return
    needed = f._needed
    layout = replace(needed.layout, problems=(_UNTOLD,) * len(needed.layout.problems))  # their lines are the user's
    kernel: Any = needed.kernel
    plain = needed._replace(layout=layout, kernel=kernel.nameless(layout))
    nameless = marked(plain, made_of.numbers)
    brings = bool(f.surrogate.derivation.draft.params)
    texts = bool(needed.notes) or layout.uncoupled is not None or any(slot.role == "tie" for slot in layout.means)
    guard = guard_of(looks, kernel.numbers, texts)
    try:
        data = pickle.dumps(Recalled(plain if nameless is None else nameless, brings))
        variant = pickle.dumps(Variant(guard, data))
    except Exception:  # what cannot be written down is compiled by every process
        return
    lines = any(str(line).encode() in data for line in {*made_of.structure.lines})
    name, backend = _names(made_of)[2 if lines else 0 if nameless is not None else 1], load(f._options["backend"])
    backend.remember(name, pickle.dumps([variant, *_variants(backend.recall(name))][:MOST]))


def _variants(data: bytes | None) -> list[bytes]:
    """The functions of graphs that differ in numbers, the latest first."""
    try:
        return [] if data is None else pickle.loads(data)
    except Exception:  # whatever is wrong with them, functions can be compiled
        return []


def _read(data: bytes | None, made_of: MadeOf) -> Recalled | None:
    """What was kept of the function that these numbers have."""
    numbers = [literal.unwatched for literal in made_of.structure.literals]
    for variant in _variants(data):
        try:
            guard, inner = pickle.loads(variant)
            known = guard.holds(numbers, lambda op: OPS[op].value)
            if known is None:
                continue
            found: Recalled = pickle.loads(inner)
            needed = unmarked(found.needed, made_of.names, made_of.title)
            return None if needed is None else found._replace(needed=_given(needed, guard, known))
        except Exception:  # whatever is wrong with it, the function can be compiled
            return None
    return None


def _given(needed: Needed, guard: Guard, known: Sequence[np.ndarray]) -> Needed:
    """What calls need, with other numbers."""
    kernel: Any = needed.kernel
    numbers = kernel.numbers.copy()
    for place, which in guard.reals:
        numbers[place] = known[which]
    return needed._replace(kernel=kernel.of_numbers(numbers))


def _names(made_of: MadeOf) -> tuple[str, str, str]:
    """Under which it is kept: what says nothing of the user's names and lines, what says names, and what says both."""
    names = repr(made_of.names + made_of.keys)
    lines = "\n".join(f"{line.file}:{line.line}" for line in made_of.structure.lines)
    return tuple(hashlib.blake2b(made_of.structure.data + text.encode(errors="surrogatepass"), digest_size=16)
                 .hexdigest() for text in ("", names, f"{names}\n{lines}"))  # type: ignore[return-value]


def _structure(graph, options: Mapping[str, Any]) -> MadeOf | None:
    """What a function is made of; None if that cannot be told."""
    files = tuple(tuple(found.items()) for found in (_LOADED, _loaded_of(options["backend"])))
    if not isinstance(getattr(graph, "costs", None), Mapping) or options["order"] != 1:
        return None
    if not all(files):  # what is loaded from elsewhere than files says nothing of them
        return None
    names = tuple({**graph._taken, **graph._drawn})
    numbers = {name: i for i, name in enumerate(names)}
    parts = {name: _called(value) for name, value in graph.__dict__.items() if name not in _UNSAID}
    said = {"sites": _called({name: (site.family, site.estimator) for name, site in graph.sites.items()}),
            "per_step": sorted(numbers[name] for name in graph.per_step), "streams": _ranks(graph._drawn)}
    chosen = {name: _called(value) for name, value in options.items() if name != "measured"}
    found = structure_of((_versions(), _digest_of(files), parts, said, chosen), _OPS, graph.home, numbers)
    if found is None:
        return None
    return MadeOf(found, names, graph.name, tuple(keys_below([*graph.costs.values(), *graph.nodes.values()])))


def _ranks(names: Collection[str]) -> list[int]:
    """The place of each name in the order of all: streams are sorted by their paths."""
    order = sorted(names)
    return [order.index(name) for name in names]


def _called(value: Any) -> Any:
    """A table by names, or names alone, with what is a name of the user's `Called` so."""
    if isinstance(value, dict):
        return {_name(key): _called(entry) for key, entry in value.items()}
    return [_name(name) for name in value] if isinstance(value, (list, tuple)) else value


def _name(key: Any) -> Any:
    if isinstance(key, str):
        return Called(key)
    return tuple(map(_name, key)) if type(key) is tuple else key


@functools.cache
def _versions() -> tuple[str, ...]:
    return sys.version, *(metadata.version(name) for name in _BELOW)


@functools.lru_cache(maxsize=4)
def _digest_of(files: tuple) -> str:
    return hashlib.blake2b(repr(files).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _files(root: str) -> dict[str, tuple[int, int]]:
    """The modules below a folder, with what the file system says of each: its size, and when it was written."""
    paths = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    return {path: _state(path) for path in sorted(paths) if path.endswith(".py")}


def _state(path: str) -> tuple[int, int]:
    try:
        at = os.stat(path)
    except OSError:
        return 0, 0
    return at.st_size, at.st_mtime_ns


_LOADED = _files(_ROOT)  # as they were when they were imported: what is edited later is not what runs


@functools.cache
def _loaded_of(backend: str) -> dict[str, tuple[int, int]]:
    return _files(str(load(backend).__path__[0]))


def _edited(backend: str) -> bool:
    """Whether files are no longer those that were loaded."""
    return any(_state(path) != known for files in (_LOADED, _loaded_of(backend)) for path, known in files.items())
