"""A compiled estimator as a standalone Python module.

The module is made of this package's own text: the kernel with the noise and vector mathematics that it calls (the
backend supplies these), and the host's modules that check a call, divide it, merge its parts and hold its results. So
it computes the same bits, refuses the same calls in the same words, and there is nothing to keep in step. What users
name is written into it as literals and escaped text only. Large arrays lie in a file beside it, whose name and digest
it knows: a module and its arrays are of one export, or it refuses them.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scg import errors, forking, large, markup, noise, program, sums
from scg.errors import InternalError, SCGError
from scg.export.files import place_of, write_whole
from scg.export.literals import Literals
from scg.export.preface import leaves_of, preface, shape_of
from scg.ir import location, signed
from scg.ir.location import calling
from scg.run import beside, by_name, calls, estimate, example, one_range, placement, standing, table, values
from scg.run import executors as threads
from scg.run import moments as statistics
from scg.run.example import Example, example_of
from scg.source import imports_of, in_docstring, names_of, without_imports

HOST = (errors, forking, location, signed, by_name, noise, sums, large, program, values, standing, statistics,
        one_range, placement, threads, calls, markup, table, example)
_TRIED = (0.5, 1.5, 0.1, 3.0, 0.0, 1.0, 2.0)  # at which an estimate is tried, to be checked where the module goes

_IMPORTS = {"import dataclasses", "import numpy as np", "from typing import Any", "from collections.abc import Mapping"}

_OF_THE_GRAPH = "; it names the node where that first appeared"  # what a module cannot tell

_DATACLASS = '''
def dataclass(**options):
    """`dataclasses.dataclass`, which would look annotations up in `sys.modules`, where this module need not be."""

    def decorate(cls):
        cls.__annotations__ = dict.fromkeys(cls.__annotations__, Any)
        return dataclasses.dataclass(**options)(cls)

    return decorate
'''

_PLACE = '''
_PACKAGE = here.__code__.co_filename  # errors name the line outside this file that called
'''

_ARRAYS = '''
ARRAYS = arrays_beside(here.__code__.co_filename, {name}, {digest})
'''

_CALL = '''
LAYOUT = {layout}


class _Compiled:
    """The kernel, as `Calls` runs it."""

    @property
    def function(self):
        return chunk

    def prepared(self, division: Division):
        return prepared(self, WORKSPACE, LAYOUT, division)

    def run(self, call: Call, part: Chunk) -> Partial:
        return run_chunk(chunk, WORKSPACE, LAYOUT, call, part)


CALLS = Calls(LAYOUT, _Compiled(), {initial}, {explicit}, {measured}, {notes})
EXAMPLE = {example}


def estimate(values: Mapping[str, Any] = VALUES, *more, samples: int = 1, rng=None,
             state: Mapping[str, Any] | None = None, executor: Executor | None = None, **unknown) -> Estimate:
    """{told}
    """
    if more or unknown:
        CALLS.refuse_arguments("estimate", ("samples", "rng", "state", "executor"), more, unknown)
    return CALLS.estimate(values, samples, rng, state, executor)


def self_check() -> None:
    """Compare the noise with known answers, and an estimate with the one that was made at export."""
    if philox((0, 0, 0, 0), (0, 0)) != (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8):
        raise InternalError("", "The noise is wrong.")
    if EXAMPLE is None:
        print("self-check passed for the noise; no estimate was checked: the values tried at export gave none")
        return
    compare(LAYOUT.name, estimate(EXAMPLE.values, samples=EXAMPLE.samples, rng=0), EXAMPLE, LAYOUT.dtype)
    print("self-check passed")


if __name__ == "__main__":
    self_check()
'''


class Written(NamedTuple):
    """A module's text, and the file beside it: its name, empty if there is none, and what it holds."""

    text: str
    beside: str
    content: bytes


def write(f, path, values: Mapping[str, Any] | None = None, overwrite: bool = False) -> None:
    """Write the standalone module of an estimator function; see `EstimatorFunction.export`.

    The file of its arrays comes first, under a name that holds its digest: at no time is there a module without it, nor
    one with another's.
    """
    where = calling(f._layout.name)
    if getattr(f._kernel, "standalone", None) is None:
        raise SCGError(where, f"export of a {f._options['backend']} estimator was asked for.",
                       "That backend interprets; there is no kernel to export.", 'Compile with backend="numba".')
    place = place_of(where, path, overwrite)
    written = module_of(f, place.stem, _example(f) if values is None else _example_at(f, values))
    if written.beside:
        beside_it = place.with_name(written.beside)
        if not _holds(beside_it, written.content):
            write_whole(where, place_of(where, beside_it, overwrite), written.content, overwrite)
    write_whole(where, place, written.text.encode(), overwrite)


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file is there already: its name says what it must hold, but it may have been damaged."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def module_of(f, name: str, example: Example | None) -> Written:
    """The module of an estimator function.

    Parameters
    ----------
    f : EstimatorFunction
    name : str
        Of its file, without the ending.
    example : Example or None
        What its self-check makes again.
    """
    kernel, arrays = f._kernel.standalone()
    literals = Literals(arrays)
    call = _call(f, literals, example)
    content, digest = beside.packed(literals.arrays) if literals.arrays else (b"", "")
    file = f"{name}-{digest[:12]}.npz" if digest else ""
    host = [(module.__name__.rpartition(".")[2], inspect.getsource(module)) for module in HOST]
    of_estimate = inspect.getsource(estimate)
    host.append(("estimate", textwrap.dedent(inspect.getsource(estimate.Estimate))))
    if file:
        read = _ARRAYS.format(name=literals(file), digest=literals(digest))
        host.append(("beside", inspect.getsource(beside) + read))
    texts = [*host, *kernel]
    lines = {line for _, text in (*texts, ("", of_estimate)) for line in imports_of(text)}
    lines = lines - {"from dataclasses import dataclass"} | _IMPORTS
    _check_names([*texts, ("call", _DATACLASS)])
    top = preface(f, name if re.fullmatch("[A-Za-z_][A-Za-z_0-9]*", name) else "this_module", file or None)
    parts = [f'"""{top}"""\n\nfrom __future__ import annotations\n', *_imports(lines), "", _DATACLASS]
    for title, text in texts:
        parts.append(f"\n# --- {title} {'-' * (112 - len(title))}\n\n{without_imports(text)}")
        if title == "location":
            parts.append(_PLACE)
    return Written("\n".join([*parts, f"\n# --- the call {'-' * 104}\n", call]), file, content)


def _imports(lines: set[str]) -> list[str]:
    """The imports, as they are read: a line for each module, those of the language before the libraries'."""
    names: dict[str, list[str]] = {}
    for line in sorted(lines):
        start, _, name = line.partition(" import ")
        names.setdefault(start, []).extend([name] if name else [])
    written = [f"{start} import {', '.join(found)}" if found else start for start, found in names.items()]
    written.sort(key=lambda line: (line.startswith("from"), line))
    libraries = [line for line in written if line.split()[1].partition(".")[0] not in sys.stdlib_module_names]
    return [*(line for line in written if line not in libraries), "", *libraries]


def _check_names(texts: list[tuple[str, str]]) -> None:
    """In one module a second definition would replace the first."""
    seen: dict[str, str] = {}
    for part, text in texts:
        for name in set(names_of(text)) - {"__all__", "TYPE_CHECKING"}:
            if name in seen:
                raise InternalError("", f"{name} is defined in {seen[name]} and in {part}.",
                                    "An exported module holds both.", "Rename one of them.")
            seen[name] = part


def _call(f, literals: Literals, example: Example | None) -> str:
    """What is called, at the end of the module."""
    return _CALL.format(layout=literals.by_field(f._layout), initial=literals(f._initial),
                        explicit=literals(f._explicit_groups), measured=literals(bool(f._options["stderr"])),
                        notes=literals(tuple(f._calls.notes)), told=in_docstring(_told(f)),
                        example="None" if example is None else literals.by_field(example))


def _told(f) -> str:
    """The docstring of `estimate`: that of the function's call, with the values that this one takes."""
    lines = inspect.cleandoc(type(f).__call__.__doc__ or "").replace(_OF_THE_GRAPH, "").split("\n")
    if len(lines) == 1:  # Python was told to forget docstrings
        return "Estimate the objective and its gradient."
    at = lines.index("values : dict of str to array_like")
    lines[at + 1] = "    " + (
        ", ".join(f"{Literals()(leaf.name)}: {shape_of(leaf)}" for leaf in leaves_of(f._layout)) or "None.")
    at = next(i for i, line in enumerate(lines) if line.startswith("record : "))
    end = next(i for i in range(at + 1, len(lines)) if not lines[i].startswith(" "))
    del lines[at:end]
    return "\n".join([lines[0], *(f"    {line}".rstrip() for line in lines[1:])])


def _example_at(f, given: Mapping[str, Any]) -> Example:
    """What the estimator gives at the user's values."""
    samples = _samples(f)
    r = f(given, samples=samples, rng=0)
    arrays, _ = values.bind_leaves(f._layout, given, None, f._initial)
    return example_of({leaf.name: np.array(array) for leaf, array in zip(f._layout.leaves, arrays)
                       if leaf.role != "state"}, r)


def _example(f) -> Example | None:
    """What it gives at the first values, of those that are tried, at which it works."""
    for number in _TRIED:
        tried = {leaf.name: np.full(((2, *leaf.shape) if leaf.role == "data" else leaf.shape), number)
                 for leaf in leaves_of(f._layout)}
        try:
            return example_of(tried, f(tried, samples=_samples(f), rng=0))
        except SCGError:
            continue
    return None


def _samples(f) -> int:
    """How many samples a self-check draws: whole groups."""
    group = f._layout.group or 1
    return group * max(128 // group, 1)
