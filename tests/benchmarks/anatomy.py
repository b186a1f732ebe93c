"""Where the time of a call and of a kernel goes: ``python tests/benchmarks/anatomy.py [loo|none] [stderr|plain]``.

A call is profiled by cProfile, and compared with its kernel alone. A kernel is compiled again and again, with ever more
of its steps, and what each step adds is its cost: what compilers overlap or drop is counted where it matters.
"""

from __future__ import annotations

import cProfile
import io
import json
import os
import pstats
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "contenders"), str(HERE.parents[1]), str(HERE.parents[1] / "backends")]

import toy  # noqa: E402

LANES = 1 << 17
STEP = re.compile(r"        # (.*)")
END = re.compile(r"        k = end")


def best(function, repeats: int = 15) -> float:
    """The least processor time of a call."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


class Captured:
    """The arguments with which a compiled estimator calls its kernel."""

    def __init__(self, f, samples: int):
        kernel = f._kernel
        jitted, self.kernel_arguments = kernel.function, ()

        def spy(*arguments):
            self.kernel_arguments = arguments
            return jitted(*arguments)

        spy.overloads = {(): jitted}  # what is called is `spy`, and not its machine code
        kernel.function = spy
        f({"theta": toy.THETA}, samples=samples, rng=0)
        kernel.function = jitted
        self.jitted = jitted


def call_table(f, calls: int = 20_000) -> list[tuple[str, float]]:
    """Microseconds of a call of 64 samples: whole, with its numbers read, and the jitted function alone."""
    values = {"theta": toy.THETA}
    captured = Captured(f, toy.GROUP)

    def whole():
        for seed in range(calls):
            f(values, samples=toy.GROUP, rng=seed)

    def read():
        for seed in range(calls):
            r = f(values, samples=toy.GROUP, rng=seed)
            r.cost, float(r.grad["theta"])

    def alone():
        for _ in range(calls):
            captured.jitted(*captured.kernel_arguments)

    rows = [("call", whole), ("call, cost and gradient read", read), ("the jitted function alone", alone)]
    return [(name, best(function, 5) / calls * 1e6) for name, function in rows]


def call_profile(f, calls: int = 20_000, rows: int = 14) -> str:
    """cProfile of so many calls of 64 samples."""
    values = {"theta": toy.THETA}
    profiler = cProfile.Profile()
    profiler.enable()
    for seed in range(calls):
        f(values, samples=toy.GROUP, rng=seed)
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(rows)
    return "\n".join(line for line in text.getvalue().splitlines() if line.strip())


def steps(source: str) -> tuple[list[str], list[tuple[str, list[str]]], list[str]]:
    """A kernel's text: what comes before its tile's steps, the steps by name, and what comes after them."""
    lines = source.splitlines()
    loop = next(i for i, line in enumerate(lines) if line.startswith("    while "))
    marks = [i for i in range(loop, len(lines)) if STEP.fullmatch(lines[i])]
    end = max(i for i in range(loop, len(lines)) if END.fullmatch(lines[i]))
    marks = [i for i in marks if i < end]
    parts = [(STEP.fullmatch(lines[a]).group(1), lines[a:b]) for a, b in zip(marks, [*marks[1:], end])]
    return lines[: marks[0]], parts, lines[end:]


def kernel_table(f) -> list[tuple[str, float]]:
    """Nanoseconds per sample that each step of a kernel adds."""
    from scg_numba import cache

    before, parts, after = steps(f.source)
    arguments = Captured(f, LANES).kernel_arguments
    modules = [cache.load("\n".join([*before, *(line for _, lines in parts[:n] for line in lines), *after, ""]))
               for n in range(len(parts) + 1)]  # held: a module's functions are forgotten with it
    functions = [module.chunk for module in modules]
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function(*arguments)
    for _ in range(25):
        for function, row in zip(functions, times):
            row.append(best(lambda: function(*arguments), 3))
    nanoseconds = [statistics.median(row) / LANES * 1e9 for row in times]
    named = [(name, after - before) for (name, _), before, after in zip(parts, nanoseconds, nanoseconds[1:])]
    return [("tiles alone", nanoseconds[0]), *named, ("whole", nanoseconds[-1])]


def passes(source: str) -> dict[str, int]:
    """How often the steps of a tile run over its lanes: loops in the text, and helpers that are given all lanes."""
    text = "\n".join(line for _, lines in steps(source)[1] for line in lines)
    helpers = re.findall(r"\b(fill_\w+|leave_one_out\w*|observe\w*|copy|row_sum)\(", text)
    counts = {"loops": len(re.findall(r"for l in range", text))}
    for helper in helpers:
        counts[helper] = counts.get(helper, 0) + 1
    return counts


def main() -> None:
    """Print all of it; with --json, as data and without the profile."""
    words = [word for word in sys.argv[1:] if word != "--json"]
    baseline, variant = (words + ["loo", "stderr"][len(words) :])[:2]
    os.environ["SCG_CACHE_DIR"] = tempfile.mkdtemp(prefix="scg-anatomy-")
    from ours import estimator

    f = estimator(variant, baseline)
    call, counts, kernel = call_table(f), passes(f.source), kernel_table(f)
    if "--json" in sys.argv:
        print(json.dumps({"call": call, "passes": counts, "kernel": kernel}))
        return
    print(f"# {baseline}, {variant}: microseconds of a call of {toy.GROUP} samples")
    print("\n".join(f"{microseconds:9.2f}  {name}" for name, microseconds in call))
    print(f"\n# passes over the lanes of a tile: {counts}\n# nanoseconds per sample that each step adds")
    print("\n".join(f"{nanoseconds:9.3f}  {name}" for name, nanoseconds in kernel))
    print(f"\n{call_profile(f)}")


if __name__ == "__main__":
    main()
