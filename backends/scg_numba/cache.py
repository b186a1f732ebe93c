"""Generated modules as files in the user's cache directory, named by their content, and imported from there.

Numba keys its own cache on the file that defines a function, so the name holds a digest of everything the machine code
depends on: the text, the sources of the functions it calls, and the versions of Python, NumPy, Numba and llvmlite.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

import llvmlite
import numba
import numpy as np
import platformdirs

_lock = threading.Lock()
_loaded: dict[str, ModuleType] = {}
_sources: list[bytes] = []


def directory() -> Path:
    """Where kernels are kept: ``$SCG_CACHE_DIR``, or the user's cache directory."""
    return Path(os.environ.get("SCG_CACHE_DIR") or platformdirs.user_cache_dir("scg"))


def digest(text: str) -> str:
    """A name for the machine code of a module's text."""
    if not _sources:
        here = Path(__file__).parent
        names = ("noise.py", "runtime.py", "special.py", "vector_math.py")
        _sources.extend((here / name).read_bytes() for name in names)
    versions = f"{sys.version} {np.__version__} {numba.__version__} {llvmlite.__version__}"
    h = hashlib.blake2b(digest_size=16)
    for part in (text.encode(), versions.encode(), *_sources):
        h.update(part)
    return h.hexdigest()


def load(text: str) -> ModuleType:
    """The module of that text; written to the cache directory unless it is there."""
    name = f"scg_kernel_{digest(text)}"
    with _lock:
        if name not in _loaded:
            _loaded[name] = _import(name, _written(name, text))
        return _loaded[name]


def _written(name: str, text: str) -> Path:
    path = directory() / f"{name}.py"
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write(path, text)
    except OSError:  # a cache that cannot be written costs compilation, not results
        return _write(Path(tempfile.mkdtemp(prefix="scg")) / f"{name}.py", text)


def _write(path: Path, text: str) -> Path:
    """Atomically: another process sees the whole file or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
    return path


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba's cache pickles functions by module name
    spec.loader.exec_module(module)
    return module
