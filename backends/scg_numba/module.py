"""The whole text of a kernel's module: the function's head, the call-level part, the tile loop, what comes after.

The function `chunk` takes a range of replicates, the noise keys, the array of numbers to add to, arrays to work in, and
the leaves' values; see `scg.program` for what it must return.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from scg.program import MANY
from scg.schedule.language import Kernel
from scg.source import in_comment
from scg.sums import COUNT, OBSERVED, SQUARES, SUM
from scg_numba.statements import Writer, elements
from scg_numba.text import Text, most_lanes, multiplies

GAP = 16  # lanes between those of two elements where there are products
# Matrices with a power of two between their columns share few sets of a cache; and a range may have few lanes.
NARROW_TILES = "    W = (min(TILE, {lanes}) + 63) // 64 * 64 + {gap}"

# How many lanes a tile has, as whole groups fit into the array of edges, if all groups are equal; else 0.
EQUAL_GROUPS = ["    step = samples // groups",
                "    step = max((edges.size - 1) // step, 1) * step if samples == step * groups else 0"]


def text_of(kernel: Kernel) -> Text:
    """The module that is a kernel."""
    writer = Writer(kernel)
    call, tile, end = (writer.written(block, i) for block, i in ((kernel.call, 1), (kernel.tile, 2), (kernel.end, 1)))
    written = "\n".join([*call, *tile, *end])
    narrow = multiplies(written)
    workspace = workspace_of(kernel, kernel.width + (GAP if narrow else 0))
    opened, closed = (["    failed = 0"], ["    refuse_division(failed)"]) if writer.x.functions else ([], [])
    lanes = "max(all_rows, k1 - k0)" if kernel.one_by_one else "all_rows * (k1 - k0)"
    narrowed = [NARROW_TILES.format(lanes=lanes, gap=GAP)] if narrow else []
    body = [*narrowed, *opened, *call, *_tile_loop(kernel, most_lanes(written)), *tile, *_closing(kernel), *end,
            *closed]
    constants = _constants(writer, "\n".join(body))
    lines = [*_opening(kernel, [*workspace, *constants]), *_given_numbers(writer.x.reals, body), *body]
    layout = kernel.layout
    return Text("\n".join(lines) + "\n", layout.name, kernel.width, layout.dtype, constants, workspace,
                {name: called for called, name in writer.x.functions.items()}, kernel.assigned,
                [(first, first + buffer.elements, buffer.offset) for first, buffer in kernel.left])


def _constants(writer: Writer, body: str) -> dict[str, np.ndarray]:
    """The arrays of numbers that the kernel is given with every call, by the names of its arguments."""
    read = set(re.findall(r"\bCONST\d+\b", body))
    found = {name: array for i, array in enumerate(writer.forms.constants) if (name := f"CONST{i}") in read}
    if writer.forms.pool:
        found["POOL"] = writer.forms.pooled()
    if writer.x.reals:
        found["REALS"] = np.array([float(text) for text, _ in writer.x.reals])
    return {name: np.array(array, order="C") for name, array in found.items()}


def _given_numbers(reals: Mapping[tuple[str, str], int], body: list[str]) -> list[str]:
    """Variables of those numbers that are no operands of tables only."""
    used = set(re.findall(r"\breal(\d+)\b", "\n".join(body)))
    return [f"    real{i} = {f'np.float32(REALS[{i}])' if kind == 'float32' else f'REALS[{i}]'}  # {text}"
            for (text, kind), i in reals.items() if str(i) in used]


def workspace_of(kernel: Kernel, apart: int) -> dict[str, tuple[int, str]]:
    """The arrays that the kernel works in: how many elements of which type each has.

    The lanes of two elements lie so far `apart`, at most.
    """
    sizes, width, dtype = kernel.sizes, kernel.width, kernel.layout.dtype
    workspace = {"arena": (sizes.arena * apart, dtype), "plain": (sizes.plain, dtype)}
    if kernel.left:
        workspace["one_tile"] = (1, "int64")
    if kernel.draws:
        workspace["scratch"] = (64, dtype)
    if kernel.numbers_rows:
        workspace["row_of"] = (width, "int64")
    if kernel.layout.compared:
        workspace["runs"] = (width + 3, "int64")
    if kernel.layout.coupled:
        workspace["edges"] = (width + 1, "int64")
    for name, size in (("wide", sizes.wide * apart), ("wide_plain", sizes.wide_plain), ("weights", sizes.weights),
                       ("sums", sizes.sums), ("totals", sizes.totals * apart)):
        if size:
            workspace[name] = (size, "float64")
    return workspace


def _opening(kernel: Kernel, arrays: Iterable[str]) -> list[str]:
    layout = kernel.layout
    leaves = [f"leaf{i}" for i in range(len(layout.leaves))]
    records = [f"record{i}" for i in range(len(layout.records))]
    arguments = ", ".join(["row0", "all_rows", "k0", "k1", "samples", "groups", "by_group", "keys", "numbers",
                           *(["compared"] if layout.compared else []), *arrays,
                           *(["by_row"] if layout.by_row else []), *records, *leaves])
    notes = ["    # " + in_comment(f"leaf{i}: {leaf.role} {leaf.name!r} {leaf.shape}")
             for i, leaf in enumerate(layout.leaves)]
    measured = elements(kernel, True)
    return ["@lowered(**OPTIONS)", f"def chunk({arguments}):", *notes,
            *(["    warm = False"] if measured else []),
            *(f"    sum{i} = square{i} = pivot{i} = 0.0" for i in elements(kernel)),
            *(f"    spread{i} = 0" for i in measured),
            *(EQUAL_GROUPS if layout.coupled else []),
            *(_groups(kernel) if kernel.sums_groups else [])]


def _groups(kernel: Kernel) -> list[str]:
    """What is known of the groups of a chunk, and the bases of their sums."""
    return ["    seen, shortest = 0.0, samples // groups",
            "    short_share, long_share = 1.0 / shortest, 1.0 / (shortest + 1)",
            "    short_other, long_other = 1.0 / (shortest - 1) if shortest > 1 else 0.0, short_share",
            "    short_ratio, long_ratio = shortest * short_other, (shortest + 1) * long_other",
            *(f"    base{i} = 0.0" for i in range(kernel.bases))]


def _tile_loop(kernel: Kernel, most: str) -> list[str]:
    edges, end = [], f"min(k + {most}, k1)"
    alone = "k1 - k0 == 1" if kernel.one_by_one else "lanes == k1 - k0"
    known = ["        one_tile[0] = 1 if alone else 0"] if kernel.left else []
    if kernel.layout.coupled:
        end = "min(k + step, k1) if step > 0 else tile_end(k, k1, samples, groups, edges.size - 1)"
        rows = 1 if kernel.one_sequence else "rows"  # where groups are equal, those of tiles of one length are, too
        edges = ["        if step == 0 or lanes != known:",
                 f"            count, known = group_edges(edges, {rows}, k, end, samples, groups), lanes"]
    begun = ["    count = known = 0"] if edges else []
    if kernel.one_sequence:
        return [*begun, "    k = k0", "    while k < k1:",
                f"        end = {end}", "        lanes = end - k", "        padded = (lanes + 63) // 64 * 64",
                "        r0 = k", *edges, *([f"        alone = {alone}", *known] if known else [])]
    of_rows = ["        for l in range(padded):", "            row_of[l] = min(l // (end - k), rows - 1)"]
    return [*begun, "    last = row0 + all_rows", "    many = all_rows > 1", "    row, k = row0, k0",
            "    while row < last:",
            f"        if many and samples <= {most}:",
            f"            rows, end = min({most} // samples, last - row), samples",
            "        else:",
            f"            rows, end = 1, {end}",
            "        lanes = rows * (end - k)",
            "        padded = (lanes + 63) // 64 * 64",
            "        r0 = row * samples + k",
            *edges, *(of_rows if kernel.numbers_rows else []),
            *(["        alone = lanes == all_rows * (k1 - k0)", *known] if known else [])]


def _closing(kernel: Kernel) -> list[str]:
    layout = kernel.layout
    settled = any(slot.moments for slot in layout.means) or layout.width <= MANY  # else it is long work for nothing
    after = ["    settle(numbers)"] if kernel.observes and settled else []
    after += ["    settle(by_row)"] if any(slot.moments for slot in kernel.layout.by_row) else []
    for i in elements(kernel):
        after.append(f"    numbers[{SUM}, {i}] = sum{i} + pivot{i} * (k1 - k0)")
    for i in elements(kernel, True):
        after += [f"    numbers[{COUNT}, {i}], numbers[{OBSERVED}, {i}] = k1 - k0, numbers[{SUM}, {i}]",
                  f"    numbers[{SQUARES}, {i}] = centred(k1 - k0, sum{i}, square{i}, spread{i})"]
    next_row = [] if kernel.one_sequence else ["        if k == k1:", "            k = k0", "            row += rows"]
    seen = ["        seen += count"] if kernel.sums_groups else []
    return [*seen, "        k = end", *next_row, *after]
