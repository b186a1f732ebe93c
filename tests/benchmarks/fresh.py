"""The toy's first estimate in this process, timed: imports, ``scg.compile``, and the first call. Prints JSON.

With ``SCG_CACHE_DIR`` set to an empty folder it is a cold start; run again, a warm one. After a start with the word
``helpers`` the folder holds what the package's own functions became, and no kernel.
"""

import json
import sys
import time
from pathlib import Path


def keep_helpers_only() -> None:
    """From now on this process keeps what becomes of the package's own functions, and nothing else."""
    import scg_numba
    from scg_numba import cache

    scg_numba.remember = lambda name, body: None
    save = cache.KeptCode.save_overload
    cache.KeptCode.save_overload = lambda self, *given: (
        None if self.function.startswith("scg_kernel") else save(self, *given))


def main() -> None:
    """Time one start."""
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "contenders")]
    marks = [(time.perf_counter(), time.process_time())]

    def mark():
        marks.append((time.perf_counter(), time.process_time()))

    import scg_numba  # noqa: F401

    import scg

    if "helpers" in sys.argv:
        keep_helpers_only()
    mark()
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - 0.45) ** 2)
    f = scg.compile(g)
    mark()
    f({"theta": 0.3}, samples=64, rng=0)
    mark()
    names = ("import", "compile", "first")
    wall = {name: after[0] - before[0] for name, before, after in zip(names, marks, marks[1:])}
    cpu = {name: after[1] - before[1] for name, before, after in zip(names, marks, marks[1:])}
    print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
