"""A kernel's text: as it is read, with the names and lines of what was declared, and as it is compiled, without."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from copy import copy

import numpy as np

from scg.ops.call import Callee
from scg.source import in_docstring, without_comments
from scg_numba.spelling import Shapes

HEAD = '''"""{title}"""

import numpy as np
{imports}
INF, NAN = {real}(np.inf), {real}(np.nan)
{lanes}
'''

IMPORTS = '''from scg_numba.choices import (
    below_at, both_sides, category_among, category_at, fill_range_below, sum_from_the_end)
from scg_numba.lowering import lowered
from scg_numba.noise import fill_range_coarse, fill_range_fine, uniform_at, uniform_at_f32
from scg_numba.powers import whole_power
from scg_numba.runtime import (
    OPTIONS, add_partial_sums, added, added_product, bits, bits_of_both, centred, close_row, copy, counted, fill,
    group_edges, index_among, leave_one_out, minus, narrow, observe_constant, observe_groups, observe_replicates,
    observe_sums, plus, row_sum, settle, tile_end, times)
from scg_numba.special import (
    deviance, digamma, digamma_rest, erf, erfc, lgamma, lgamma_rest, log_ratio, ndtr, ndtri, trigamma, trigamma_rest)
from scg_numba.vector_math import cos, exp, expm1, log, log1p, sigmoid, sin, softplus, tanh
'''

WITHIN = "from scg_numba.within import skipping, within\n"

FEW_BYTES = 1 << 12  # of constant arrays that are written into an exported module

# Functions that few kernels call, and the modules that they come from: imported where they are called
RARE = {"gamma_slope": "slopes",
        **dict.fromkeys(("inverse_mills", "inverse_mills_rest", "log_ndtr"), "normal_tails"),
        **dict.fromkeys(("array_1", "array_2", "array_3", "array_4", "elements", "put",
                         "refuse_division"), "called"),
        **dict.fromkeys(("fill_elements_coarse", "fill_elements_fine", "fill_rows_coarse", "fill_rows_fine"),
                        "element_noise"),
        **dict.fromkeys(("matrix_product", "mean_product", "sum_rows", "spread_rows", "add_up", "observe_totals",
                         "contrast", "goes_on", "add_squares"), "products")}


def rare_in(body: str) -> dict[str, str]:
    """The functions among `RARE` that a kernel calls."""
    return {name: module for name, module in RARE.items() if f"{name}(" in body}


def multiplies(body: str) -> bool:
    """Whether there are matrix products in a kernel."""
    return "products" in rare_in(body).values()


def most_lanes(body: str) -> str:
    """The name of the number of lanes that a tile has at most.

    It is also how far apart the lanes of two elements stand, but where there are products: there W says this.
    """
    return "TILE" if multiplies(body) else "W"


class Text:
    """The text of a module, its constant arrays, the sizes of the arrays that its function works in, and the users'
    functions that it calls, each with the shapes of its arguments.

    Constant arrays are arguments: the code of a graph with other numbers is the same.
    """

    def __init__(self, body: str, name: str, width: int, dtype: str, constants: Mapping[str, np.ndarray],
                 workspace: Mapping[str, tuple[int, str]], functions: Mapping[str, tuple[Callee, Shapes]],
                 assigned: Sequence[tuple[int, int]], left: Sequence[tuple[int, int, int]]):
        self.body, self.name, self.width, self.dtype = body, name, width, dtype
        self.constants, self.workspace = constants, workspace
        self.functions = {name: callee for name, (callee, _) in functions.items()}
        self.given = {name: shapes for name, (_, shapes) in functions.items()}
        self.assigned, self.left = tuple(assigned), tuple(left)

    def module(self, imports: str = IMPORTS, beside: Container[str] = ()) -> str:
        """The module's text, as it is read: with the graph's name, and your names and lines in comments.

        Constant arrays that lie `beside` it are read from there; users' functions are imported.
        """
        title = in_docstring(f'Kernel of graph "{self.name}", written by scg. Change the graph, not this file.')
        arrays = "".join(f"{name} = {f'ARRAYS[{name!r}]' if name in beside else _array(a)}\n"
                         for name, a in self.constants.items())
        users = "".join(f"from {c.module} import {c.name} as {name}\n"
                        f"{self._within(name, name)}"
                        for name, c in self.functions.items())
        imports += WITHIN if users and imports else ""
        return self._written(title, imports, self.body, users + arrays)

    def large_arrays(self) -> dict[str, np.ndarray]:
        """The constant arrays that are better kept beside an exported module than written into it."""
        arrays = {name: a for name, a in self.constants.items() if _range_of(a) is None}
        most = FEW_BYTES // 16 if sum(a.nbytes for a in arrays.values()) > FEW_BYTES else FEW_BYTES
        return {name: a for name, a in arrays.items() if a.nbytes > most}

    def code(self) -> str:
        """The module's text, as it is compiled: what the graph computes, wherever it was declared and named."""
        users = "".join(self._within(name, f"FUNCTIONS[{c.digest!r}]") for name, c in self.functions.items())
        imports = IMPORTS + (f"from scg_numba.called import FUNCTIONS\n{WITHIN}" if users else "")
        return self._written("A kernel.", imports, without_comments(self.body), users)

    def _within(self, name: str, function: str) -> str:
        """A function of the user's as the kernel calls it, and whether it does, where a loop may be over."""
        skipped, given = f"{name}_skipped", self.given[name]
        asked = f"{skipped} = skipping({function}, {given})\n" if f"{skipped}(" in self.body else ""
        return f"{asked}{name} = within({function}, {given})\n"

    def nameless(self) -> Text:
        """The same without comments and the graph's name."""
        found = copy(self)
        found.body, found.name = without_comments(self.body), ""
        return found

    def of_numbers(self, numbers: np.ndarray) -> Text:
        """The same code, given other numbers."""
        found = copy(self)
        found.constants = {**self.constants, "REALS": np.array(numbers, order="C")} if len(numbers) else self.constants
        return found

    @property
    def rare(self) -> dict[str, str]:
        """The functions among `RARE` that are called."""
        return rare_in(self.body)

    @property
    def multiplies(self) -> bool:
        """Whether there are matrix products."""
        return multiplies(self.body)

    def _written(self, title: str, imports: str, body: str, arrays: str = "") -> str:
        if imports:
            imports += "".join(f"from scg_numba.{module} import {name}\n" for name, module in self.rare.items())
        lanes = f"{most_lanes(self.body)} = {self.width}  # lanes of a tile"
        head = HEAD.format(title=title, imports=imports, real=f"np.{self.dtype}", lanes=lanes)
        return f"{head}{arrays}\n\n{body}"


def _array(array: np.ndarray) -> str:
    """An array as an expression: consecutive integers by their ends, however many they are."""
    ends = _range_of(array)
    if ends is not None:
        return f"np.arange({ends[0]}, {ends[1]}, dtype=np.{array.dtype})"
    return f"np.array({_numbers(array)}, dtype=np.{array.dtype})"


def _range_of(array: np.ndarray) -> tuple[int, int] | None:
    """The ends of consecutive integers, if an array of floats holds these."""
    if array.dtype.kind == "f" and array.size > 2 and float(array[0]).is_integer():
        first, end = int(array[0]), int(array[0]) + array.size
        if array.tobytes() == np.arange(first, end, dtype=array.dtype).tobytes():
            return first, end
    return None


def _numbers(array: np.ndarray) -> str:
    return repr(array.tolist()).replace("inf", "np.inf").replace("nan", "np.nan")
