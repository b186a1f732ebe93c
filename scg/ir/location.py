"""Where in the user's code a node was declared, and how derived nodes inherit that place."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

from scg.errors import printable

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_CALLED_BACK = {"numpy", "dataclasses", "copy"}  # what users call, and what calls the package in turn
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_installed_here: dict[str, frozenset[str]] = {}  # by folder: what pip wrote down to have installed there
_origin = threading.local()


class Location(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{printable(os.path.basename(self.file))}:{self.line}"


def _inside(frame) -> bool:
    """Whether a frame runs code of the package or on its behalf; dataclasses' generated methods have no file."""
    file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "").split(".")[0]
    return file.startswith(_PACKAGE) or module in _CALLED_BACK or (file == "<string>" and module == "scg")


def _in_library(frame) -> bool:
    """Whether a frame runs code of Python's own library or of an installed package, or text that these compiled."""
    file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
    if file.startswith("<"):  # text that was compiled: its module says whose, and libraries that make code give it none
        if not module or module == "__main__":  # a notebook's cell is the user's, whatever program shows it
            return not module
        file = getattr(sys.modules.get(module), "__file__", None) or file
    return (file.startswith((_LIBRARY, "<frozen ")) or any(part in file for part in _INSTALLED)
            or _with_a_record(file, module))


def _with_a_record(file: str, module: str) -> bool:
    """Whether the file belongs to a package that pip has installed into any other folder: it writes down which."""
    top, _, inner = module.partition(".")
    folder = os.path.dirname(file)
    if inner or os.path.basename(file) == "__init__.py":
        base = f"{os.sep}{top}{os.sep}"
        folder = file.rpartition(base)[0] if base in file else folder
    if folder not in _installed_here:
        _installed_here[folder] = frozenset(_modules_in_records(folder))
    return top in _installed_here[folder]


def _modules_in_records(folder: str) -> Iterator[str]:
    """The modules at the top of what pip has installed into a folder."""
    try:
        records = [os.path.join(folder, name, "RECORD") for name in os.listdir(folder) if name.endswith(".dist-info")]
        for record in records:
            with open(record, encoding="utf-8") as lines:
                for line in lines:
                    first, _, rest = line.partition(",")[0].partition("/")
                    if rest.endswith(".py") or (not rest and first.endswith(".py")):
                        yield first.removesuffix(".py")
    except (OSError, UnicodeDecodeError):
        return


def here() -> Location | None:
    """The innermost line of the user's code, or the place that `derived_from` set.

    Where nothing but installed packages called, that is the innermost line outside this package.
    """
    if (stack := getattr(_origin, "stack", None)):
        return stack[-1]
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _inside(frame):
        frame = frame.f_back
    outside = frame
    while frame is not None and (_inside(frame) or _in_library(frame)):
        frame = frame.f_back
    found = outside if frame is None else frame
    return None if found is None else Location(found.f_code.co_filename, found.f_lineno)


def calling(graph: str) -> str:
    """The first part of an error message about a call: the user's line and the graph."""
    location = here()
    return f'{location}, graph "{graph}"' if location else f'graph "{graph}"'


class derived_from:
    """Give the nodes made inside the block this place: passes use it so that generated code names the user's line."""

    __slots__ = ("_location",)

    def __init__(self, location: Location | None):
        self._location = location

    def __enter__(self) -> None:
        _origin.__dict__.setdefault("stack", []).append(self._location)

    def __exit__(self, *error: object) -> None:
        _origin.stack.pop()
