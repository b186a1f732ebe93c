"""Files that are there as a whole or not at all: nobody ever reads half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

from scg.errors import SCGError


def place_of(where: str, path: Any, overwrite: bool) -> Path:
    """The file that a path means, found to be one that can be written.

    Raises
    ------
    SCGError
        If there is no such folder, or if the path is taken by what must not be replaced.
    """
    try:
        place = Path(os.path.realpath(Path(path)))  # what a link means is written, and not the link
        taken, folder = os.path.lexists(place), place.parent.is_dir()
    except (OSError, TypeError, ValueError) as why:
        raise _refusal(where, path, f"{why}") from None
    if not folder:
        raise SCGError(where, f"export to {path!r} was asked for.",
                       f"That cannot be written: there is no folder {str(place.parent)!r}.", "Make it first.")
    if taken and not place.is_file():
        raise _refusal(where, path, "it is no file, but a folder or a device")
    if taken and not overwrite:
        raise _taken(where, path)
    return place


def write_whole(where: str, place: Path, content: bytes, overwrite: bool) -> None:
    """Write a file beside its place, and then put it there at once.

    Raises
    ------
    SCGError
        If that is impossible, or if a file has come into its place and is not to be replaced.
    """
    beside = place.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(beside, place)
        else:
            _put(beside, place)
    except FileExistsError:
        raise _taken(where, place) from None
    except OSError as why:
        raise _refusal(where, place, f"{why}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def _put(beside: Path, place: Path) -> None:
    """Put a file in a place that nobody else has taken."""
    try:
        os.link(beside, place)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(place):
            raise FileExistsError from None
        os.rename(beside, place)


def _taken(where: str, path: Any) -> SCGError:
    return SCGError(where, f"export to {os.fspath(path)!r} was asked for.", "There is a file already.",
                    "Give another path, or overwrite=True.")


def _refusal(where: str, path: Any, why: str) -> SCGError:
    return SCGError(where, f"export to {path!r} was asked for.", f"That cannot be written: {why}.",
                    'Give the path of a file, e.g. "estimator.py".')
