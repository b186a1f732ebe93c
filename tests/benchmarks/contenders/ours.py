"""scg, as a user calls it. Variants: ``"stderr"`` (the default) and ``"plain"`` (``stderr=False``)."""

import math
from concurrent.futures import Executor, ThreadPoolExecutor

import numba
import numpy as np
import toy

import scg
from scg.run.executors import processors


class Inline(Executor):
    """Runs everything in the calling thread."""

    def map(self, fn, *iterables, **_):
        """As the builtin."""
        return map(fn, *iterables)


def setup(threads: int) -> dict:
    """Versions and threads."""
    pool = "the default pool" if threads == processors() else f"an executor of {threads}"
    return {"versions": f"scg 0.1.0, numba {numba.__version__}, numpy {np.__version__}",
            "threads": pool if threads > 1 else "inline", "dtype": "float64"}


def graph() -> scg.Graph:
    """The problem."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - toy.TARGET) ** 2)
    return g


def estimator(variant: str, baseline: str, backend: str = "numba") -> scg.EstimatorFunction:
    """The compiled function."""
    strategy = None if baseline == "loo" else scg.ScoreFunction()
    return scg.compile(graph(), strategy=strategy, stderr=variant == "stderr", backend=backend)


def make(variant: str, baseline: str, samples: int, threads: int, backend: str = "numba"):
    """A step: one call, and its numbers as floats."""
    f = estimator(variant, baseline, backend)
    values = {"theta": toy.THETA}
    executor = None  # as many threads as there are processors, but what fits into one chunk runs inline
    if samples > 1 << 17 and threads != processors():
        executor = ThreadPoolExecutor(threads) if threads > 1 else Inline()

    def plain(seed):
        r = f(values, samples=samples, rng=seed, executor=executor)
        return r.cost, float(r.grad["theta"]), math.nan

    def with_stderr(seed):
        r = f(values, samples=samples, rng=seed, executor=executor)
        return r.cost, float(r.grad["theta"]), float(r.stderr["theta"])

    return with_stderr if variant == "stderr" else plain
