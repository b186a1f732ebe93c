"""Python code for values: text as text, numbers as they are, and large arrays by their place in a file beside it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from scg.errors import InternalError

FEW_BYTES = 1 << 11  # of an array that is written out


class Literals:
    """The literals of one module.

    Attributes
    ----------
    arrays : dict of str to array
        What is not written out; the module reads it under these keys.
    """

    def __init__(self, arrays: dict[str, np.ndarray] | None = None):
        self.arrays = dict(arrays or {})

    def __call__(self, value: Any) -> str:
        """The code of a value: only what is known here, whatever class its words are of."""
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self(k)}: {self(v)}" for k, v in value.items()) + "}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
            return f"{type(value).__name__}({', '.join(f'{name}={self(v)}' for name, v in fields)})"
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return f"{type(value).__name__}({', '.join(map(self, value))})"
        if isinstance(value, tuple):
            return f"({', '.join(map(self, value))}{',' if len(value) == 1 else ''})"
        if isinstance(value, list):
            return f"[{', '.join(map(self, value))}]"
        return self._array(value) if isinstance(value, np.ndarray) else _scalar(value)

    def by_field(self, value: Any) -> str:
        """The code of a value with fields, one a line."""
        named = dataclasses.is_dataclass(value)
        names = [field.name for field in dataclasses.fields(value)] if named else value._fields
        lines = "".join(f"    {name}={self(getattr(value, name))},\n" for name in names)
        return f"{type(value).__name__}(\n{lines})"

    def _array(self, array: np.ndarray) -> str:
        """An array: equal numbers by one of them, few numbers as they are."""
        kind = f"np.{np.dtype(array.dtype).name}"
        if array.size > 1 and array.tobytes() == np.full(array.shape, array.flat[0]).tobytes():
            return f"np.full({self(array.shape)}, {self(array.flat[0])}, {kind})"
        if array.nbytes <= FEW_BYTES:
            return f"np.reshape(np.array({self(array.reshape(-1).tolist())}, {kind}), {self(array.shape)})"
        key = f"EXAMPLE{len(self.arrays)}"
        self.arrays[key] = array
        return f"ARRAYS[{key!r}]"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return repr(str.__add__(value, ""))  # a plain str, whose repr is an escaped literal
    if value is None or isinstance(value, bool):
        return repr(bool(value)) if value is not None else "None"
    if isinstance(value, (int, np.integer)):
        return repr(int.__index__(value) if isinstance(value, int) else int(value))
    if isinstance(value, (float, np.floating)):
        number = float.__float__(value) if isinstance(value, float) else float(value)
        return repr(number) if math.isfinite(number) else f"float({str(number)!r})"
    raise InternalError("", f"{value!r} was to be written into a module.", "It has no literal.")
