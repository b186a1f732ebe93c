"""Time first calls of whole models: ``python tests/benchmarks/compile_times.py [--only WORDS] [--repeats N]``.

Every start is a process of its own, and its folder of kept code holds what the package's own functions became and no
kernel; a second process finds the first one's code. Seconds of the processor, beyond imports, and where they go. Prints
markdown.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PHASES = ("declare", "derive", "simplify", "plan", "text", "module", "lower", "numba", "llvm", "emit", "run")


class Stopwatch:
    """Seconds of the processor by phase; what is measured within a phase is not the outer one's."""

    def __init__(self):
        self.seconds, self._open = dict.fromkeys(PHASES, 0.0), []

    def __call__(self, phase: str, function):
        """The function, timed."""
        def timed(*args, **options):
            began, self_inside = time.process_time(), len(self._open)
            self._open.append(0.0)
            try:
                return function(*args, **options)
            finally:
                took = time.process_time() - began
                self.seconds[phase] += took - self._open.pop()
                if self_inside:
                    self._open[-1] += took
        return timed

    def patch(self, phase: str, owner, name: str) -> None:
        """Time a function where it is found."""
        setattr(owner, name, self(phase, getattr(owner, name)))


def _watch(watch: Stopwatch) -> None:
    """Time the compiler's parts."""
    from numba.core.codegen import CPUCodeLibrary
    from numba.core.dispatcher import Dispatcher
    from scg_numba import cache, lowering

    for phase, module, name in (("derive", "scg.compile", "derive"), ("simplify", "scg.compiled", "program_of"),
                                ("simplify", "scg.compiled", "simplified"), ("plan", "scg_numba.kernel", "plan"),
                                ("text", "scg_numba.kernel", "text_of")):
        watch.patch(phase, importlib.import_module(module), name)
    watch.patch("module", cache, "load")
    watch.patch("numba", Dispatcher, "compile")
    watch.patch("lower", lowering.Walk, "block")
    for owner in (CPUCodeLibrary, lowering.Library):
        for name in ("_optimize_functions", "_optimize_final_module"):
            watch.patch("llvm", owner, name)
    watch.patch("emit", CPUCodeLibrary, "_finalize_final_module")


def one(name: str, kept: str) -> None:
    """Time one start in this process, and print it as JSON; with `kept` of helpers, no kernel and no function is."""
    from fresh import keep_helpers_only
    from whole_models import MODELS

    import scg

    imported = time.process_time()
    if kept == "helpers":
        keep_helpers_only()
    watch = Stopwatch()
    _watch(watch)
    began, wall = time.process_time(), time.perf_counter()
    model = watch("declare", MODELS[name][0])()
    f = scg.compile(model.graph, **model.options)
    values = {**f.init(0), **model.data}
    watch("run", f)(values, samples=model.samples, rng=0)
    total, wall = time.process_time() - began, time.perf_counter() - wall
    print(json.dumps({"imports": imported, "total": total, "wall": wall, "lines": f.source.count("\n"),
                      "parts": watch.seconds}))


def start(name: str, folder: str, kept: str = "all") -> dict:
    """One fresh process."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "SCG_CACHE_DIR": folder, "SCG_QUIET": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE.parents[1] / "backends", HERE)))}
    done = subprocess.run([sys.executable, __file__, "--one", name, "--kept", kept], env=env, capture_output=True,
                          text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def measure(name: str, repeats: int, warm: bool = True) -> dict[str, dict]:
    """Medians of first and second processes."""
    cold, second = [], []
    with tempfile.TemporaryDirectory(prefix="scg-bench-") as folder:
        start(name, f"{folder}/helpers", "helpers")
        for i in range(repeats):
            shutil.copytree(f"{folder}/helpers", f"{folder}/{i}")
            cold.append(start(name, f"{folder}/{i}"))
            if warm:
                second.append(start(name, f"{folder}/{i}"))
    return {case: sorted(found, key=lambda one: one["total"])[len(found) // 2]
            for case, found in (("cold", cold), ("second", second)) if found}


def main() -> None:
    """Measure and print."""
    sys.path.insert(0, str(HERE))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one")
    parser.add_argument("--kept", default="all")
    parser.add_argument("--only", default="", help="models whose name has these words")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-second", action="store_true")
    chosen = parser.parse_args()
    if chosen.one:
        one(chosen.one, chosen.kept)
        return
    from whole_models import MODELS

    print("| | aim | first | second | lines |", " | ".join(PHASES), "|")
    print("|---|" + "---:|" * (len(PHASES) + 4))
    for name, (_, aim) in MODELS.items():
        if not any(words.strip() in name for words in chosen.only.split(",")):
            continue
        found = measure(name, chosen.repeats, not chosen.no_second)
        cold, second = found["cold"], found.get("second", {"total": float("nan")})
        print(f"| {name} | {aim} | {cold['total']:.2f} | {second['total']:.2f} | {cold['lines']} |",
              " | ".join(f"{cold['parts'][phase]:.2f}" for phase in PHASES), "|", flush=True)


if __name__ == "__main__":
    main()
