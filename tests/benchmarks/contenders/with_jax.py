"""Jitted JAX. Variants: ``"threefry"`` (its default generator), ``"rbg"`` (XLA's own, Philox on CPUs) and ``"scan"``
(rbg, and blocks that stay in the cache, summed by `lax.scan`: memory does not grow, as in a tile kernel).

Float32, as JAX defaults to. Seeds become keys inside the jitted function, and there are no standard errors.
"""

import math
import os

_threads = len(os.sched_getaffinity(0))
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(_threads > 1).lower()}"
os.environ["NPROC"] = str(_threads)  # the size of XLA's pools
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jaxlib  # noqa: E402
import toy  # noqa: E402

BLOCK = 40_000


def setup(threads: int) -> dict:
    """Versions and threads."""
    return {"versions": f"jax {jax.__version__}, jaxlib {jaxlib.__version__}",
            "threads": f"{threads} processor{'s' * (threads > 1)}, NPROC={threads}, {os.environ['XLA_FLAGS']}",
            "dtype": "float32"}


def surrogate(theta, key, samples: int, baseline: str):
    """The surrogate loss, and the mean cost beside it."""
    b = jax.random.bernoulli(key, jax.nn.sigmoid(theta), (samples // toy.GROUP, toy.GROUP)).astype(jnp.float32)
    cost = (b - toy.TARGET) ** 2
    signal = cost
    if baseline == "loo":
        signal = cost - (cost.sum(axis=1, keepdims=True) - cost) / (toy.GROUP - 1)
    log_prob = b * jax.nn.log_sigmoid(theta) + (1 - b) * jax.nn.log_sigmoid(-theta)
    return (jax.lax.stop_gradient(signal) * log_prob).mean(), cost.mean()


def whole(theta, key, samples: int, baseline: str):
    """Mean cost and gradient of all samples at once."""
    (_, cost), grad = jax.value_and_grad(surrogate, has_aux=True)(theta, key, samples, baseline)
    return jnp.stack([cost, grad])


def blocks(theta, key, samples: int, baseline: str):
    """The same, block by block."""
    block = BLOCK if samples % BLOCK == 0 else samples
    count = samples // block

    def body(total, i):
        return total + whole(theta, jax.random.fold_in(key, i), block, baseline), None

    total, _ = jax.lax.scan(body, jnp.zeros(2), jnp.arange(count))
    return total / count


def make(variant: str, baseline: str, samples: int, threads: int):
    """A step: one call of the jitted function."""
    generator = "threefry2x32" if variant == "threefry" else "rbg"
    estimate = blocks if variant == "scan" else whole
    jitted = jax.jit(lambda theta, seed: estimate(theta, jax.random.key(seed, impl=generator), samples, baseline))

    def step(seed):
        cost, grad = jitted(toy.THETA, seed).tolist()
        return cost, grad, math.nan

    return step
