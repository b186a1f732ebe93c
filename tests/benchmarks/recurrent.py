"""A recurrent net over 20 steps: how long a step of learning takes beside its matrix products alone, and beside JAX.

    python tests/benchmarks/recurrent.py [UNITS ...]

Each of 64 replicates runs a net of so many units, zₜ ~ N(v · hₜ, 1) with the cost (zₜ − xₜ)² in each step, and hₜ goes
on with 0.1 zₜ added; cost and all gradients by the path, in float32, on one thread. JAX (the interpreter that
$SCG_BENCH_JAX names, if it does) scans over the steps, and is jitted. Processor time, the contenders by turns; the
least of 20 calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

STEPS, LANES, CALLS = 20, 64, 20


def values_of(units: int) -> dict[str, np.ndarray]:
    """Params and one row of data."""
    rng = np.random.default_rng(0)
    values = {"W": rng.standard_normal((units, units)) / np.sqrt(units), "U": rng.standard_normal(units),
              "b": np.zeros(units), "v": rng.standard_normal(units) / units, "x": rng.standard_normal((1, STEPS))}
    return {name: value.astype(np.float32) for name, value in values.items()}


def ours(units: int, stderr: bool) -> Callable[[int], float]:
    """A call, given a seed; it returns the cost."""
    import scg

    g = scg.Graph("recurrent net")
    w, u, b, v = g.param("W", (units, units)), g.param("U", units), g.param("b", units), g.param("v", units)

    def step(carry, x):
        h = scg.tanh(w @ carry + u * x + b)
        z = g.sample("z", scg.Normal(v @ h, 1.0))
        g.cost("c", (z - x) ** 2)
        return h + 0.1 * z, None

    g.scan(step, np.zeros(units), xs=g.data("x", STEPS))
    f, values = scg.compile(g, dtype="float32", stderr=stderr), values_of(units)

    def call(seed: int) -> float:
        r = f(values, samples=LANES, rng=seed)
        r.grad["W"], r.stderr["W"] if stderr else None
        return r.cost

    return call


def products(units: int) -> Callable[[int], float]:
    """The matrix products of the steps: forward, of the carry's adjoint, of the weight's gradient."""
    rng = np.random.default_rng(0)
    w, h, d = (rng.standard_normal((units, n), dtype=np.float32) for n in (units, LANES, LANES))

    def call(seed: int) -> float:
        total = np.zeros((units, units), np.float32)
        for _ in range(STEPS):
            w @ h
            w.T @ d
            total += d @ h.T
        return float(total[0, 0])

    return call


def with_jax(units: int) -> Callable[[int], float]:
    """The same by JAX."""
    import jax
    import jax.numpy as jnp

    values = {name: jnp.asarray(value) for name, value in values_of(units).items()}
    xs = values.pop("x")[0]

    def cost(params, key):
        def step(carry, given):
            x, noise = given
            h = jnp.tanh(carry @ params["W"].T + params["U"] * x + params["b"])
            z = h @ params["v"] + noise
            return h + 0.1 * z[:, None], (z - x) ** 2

        noise = jax.random.normal(key, (STEPS, LANES))
        return jax.lax.scan(step, jnp.zeros((LANES, units)), (xs, noise))[1].sum() / LANES

    step = jax.jit(jax.value_and_grad(cost))

    def call(seed: int) -> float:
        value, grads = step(values, jax.random.PRNGKey(seed))
        np.asarray(grads["W"])
        return float(value)

    return call


def least(calls: list[Callable[[int], float]]) -> list[float]:
    """Milliseconds of each."""
    for call in calls:
        call(0), call(1)
    found: list[list[float]] = [[] for _ in calls]
    for seed in range(CALLS):
        for call, times in zip(calls, found):
            began = time.process_time()
            call(seed)
            times.append(1e3 * (time.process_time() - began))
    return [min(times) for times in found]


def main(units: list[int]) -> None:
    """Print a line for each size."""
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for n in units:
        bare, plain, errors = least([products(n), ours(n, False), ours(n, True)])
        call = ours(n, False)
        cost = np.mean([call(seed) for seed in range(50)])
        print(f"{n} units: products {bare:.2f} ms, scg {plain:.2f} ({plain / bare:.2f}), with standard errors "
              f"{errors:.2f}, cost {cost:.2f}")
        if jax := os.environ.get("SCG_BENCH_JAX"):
            command = [jax, __file__, "jax", str(n)]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print("   JAX", found.strip(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["jax"]:
        call = with_jax(int(sys.argv[2]))
        print(f"{least([call])[0]:.2f} ms, cost {np.mean([call(seed) for seed in range(50)]):.2f}")
    else:
        main([int(n) for n in sys.argv[1:]] or [64, 256])
