"""Bytes by name in the user's cache directory: what was written comes back whole, or not at all.

No outcome of the file system is an error here: what cannot be read is not there, what cannot be written is not kept. A
file begins with the digest of its name and of what it holds, so a part of it, or one changed bit, is not there either;
that is why files are written in place, and no temporary ones exist that could stay behind. What is read may be run, so
neither a folder nor a file counts that another user could have written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import platformdirs

LIMIT = 1_000_000_000  # bytes
MAGIC = b"scg-1\n"
_CODE = re.compile(r"[0-9a-f]{32}\.code")  # what names of code look like: nothing else is ever removed
_DIGEST = 32  # bytes
_RELATIVE = os.open in os.supports_dir_fd  # else paths are opened anew, as on Windows, whose folders are the user's own
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0)  # a pipe in a file's place must not be waited for
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY


def limit() -> int:
    """How many bytes are kept: ``$SCG_CACHE_SIZE`` megabytes, or `LIMIT`."""
    try:
        return int(float(os.environ["SCG_CACHE_SIZE"]) * 1e6)
    except (KeyError, ValueError, OverflowError):
        return LIMIT


def info() -> tuple[str | None, int, int, int]:
    """Where code is kept, how many files and bytes, and how many bytes there may be."""
    found: list[_Kept] = []
    with contextlib.suppress(OSError, ValueError), _folder() as folder:
        found = _kept(folder)
    path = directory()
    return None if path is None else str(path), len(found), sum(file.size for file in found), limit()


def clear() -> None:
    """Remove all code that is kept; other files stay."""
    with contextlib.suppress(OSError, ValueError), _folder() as folder:
        for file in _kept(folder):
            _remove(folder, file.name)


def recall(name: str) -> bytes | None:
    """What was to be remembered under a name of 32 hexadecimal digits; None if it is not there, or not whole."""
    return read(f"{name}.code")


def remember(name: str, body: bytes) -> None:
    """Keep bytes for the next process, if they can be."""
    write(f"{name}.code", body)


class _Kept(NamedTuple):
    used: int
    name: str
    size: int


def _kept(folder: int | str) -> list[_Kept]:
    """The files of code, those that were used longest ago first."""
    found = []
    for name in os.listdir(folder):
        if _CODE.fullmatch(name):
            with contextlib.suppress(OSError):  # another process has removed it
                at = os.stat(name, dir_fd=folder, follow_symlinks=False) if isinstance(folder, int) else \
                    os.stat(os.path.join(folder, name), follow_symlinks=False)
                if stat.S_ISREG(at.st_mode):
                    found.append(_Kept(at.st_mtime_ns, name, at.st_size))
    return sorted(found)


def _make_room(folder: int | str) -> None:
    """Remove what was used longest ago, until a tenth of the limit is free, if there is more than that."""
    found, most = _kept(folder), limit()
    total = sum(file.size for file in found)
    if total <= most:
        return
    for file in found:
        if total <= 0.9 * most:
            return
        with contextlib.suppress(OSError):  # one that cannot go does not keep the others
            _remove(folder, file.name)
            total -= file.size


def directory() -> Path | None:
    """Where kernels are kept: ``$SCG_CACHE_DIR``, or the user's cache directory; None if there is neither."""
    given = os.environ.get("SCG_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    try:
        found = Path(platformdirs.user_cache_dir("scg"))
    except (OSError, RuntimeError, KeyError):  # a user whom the system does not know
        return None
    return found if found.is_absolute() else None


def read(name: str) -> bytes | None:
    """What was written under that name; None if nothing was, or if it is not to be trusted."""
    try:
        with _folder() as folder, _opened(folder, name, _READ) as file:
            if not _ours(os.fstat(file.fileno()), stat.S_ISREG):
                return None
            found = file.read()
            with contextlib.suppress(OSError):
                os.utime(file.fileno())  # used now
    except (OSError, ValueError, MemoryError):
        return None
    head, body = len(MAGIC) + _DIGEST, found[len(MAGIC) + _DIGEST :]
    return body if found[:head] == MAGIC + _digest(name, body) else None


def write(name: str, body: bytes) -> None:
    """Keep bytes under that name, in place of what is there."""
    # a folder, file system or disk that will not have it costs the next process a compilation
    with contextlib.suppress(OSError, ValueError), _folder(make=True) as folder:
        _remove(folder, name)
        try:
            with _opened(folder, name, _WRITE) as file:
                file.write(MAGIC + _digest(name, body))
                file.write(body)
            _make_room(folder)
        except FileExistsError:  # another process is at it
            return
        except BaseException:
            _remove(folder, name)
            raise


def _digest(name: str, body: bytes) -> bytes:
    found = hashlib.blake2b(name.encode(), digest_size=_DIGEST)
    found.update(b"\0")
    found.update(body)
    return found.digest()


@contextlib.contextmanager
def _folder(make: bool = False) -> Iterator[int | str]:
    """The cache directory, open: what it is found to be it stays, whatever becomes of its path."""
    path = directory()
    if path is None:
        raise FileNotFoundError
    if make:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    if not _RELATIVE:
        yield str(path)
        return
    number = os.open(path, _FOLDER)
    try:
        if not _ours(os.fstat(number), stat.S_ISDIR):
            raise PermissionError
        yield number
    finally:
        os.close(number)


def _opened(folder: int | str, name: str, flags: int):
    if isinstance(folder, int):
        number = os.open(name, flags, 0o600, dir_fd=folder)
    else:
        number = os.open(os.path.join(folder, name), flags, 0o600)
    return os.fdopen(number, "wb" if flags & os.O_WRONLY else "rb")


def _remove(folder: int | str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if isinstance(folder, int):
            os.unlink(name, dir_fd=folder)
        else:
            os.unlink(os.path.join(folder, name))


def _ours(found: os.stat_result, kind) -> bool:
    """Whether it is of the kind, and only this user, or the system's administrator, can have written it."""
    if not kind(found.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
