"""Jitted JAX. Variants: ``"whole"`` (float32, its default), ``"float64"``, and ``"scan"`` (float32, in blocks that stay
in the cache, summed by `lax.scan`: memory does not grow with the samples, as in a tile kernel).

The key is split inside the jitted function and handed from call to call, parameters and keys stay on the device; there
are no standard errors. XLA's own generator (``impl="rbg"``) is not among the variants: on CPUs it is four times slower.
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
import numpy as np  # noqa: E402
import toy  # noqa: E402

BLOCK = 40_000
jax.config.update("jax_enable_x64", True)  # allowed, not used: every dtype below is given


def setup(threads: int) -> dict:
    """Versions and threads."""
    return {"versions": f"jax {jax.__version__}, jaxlib {jaxlib.__version__}",
            "threads": f"{threads} processor{'s' * (threads > 1)}, NPROC={threads}, {os.environ['XLA_FLAGS']}",
            "dtype": "float32 (float64 where said)"}


def surrogate(theta, key, samples: int, baseline: str):
    """The surrogate loss, and the mean cost beside it."""
    b = jax.random.bernoulli(key, jax.nn.sigmoid(theta), (samples // toy.GROUP, toy.GROUP)).astype(theta.dtype)
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

    total, _ = jax.lax.scan(body, jnp.zeros(2, theta.dtype), jnp.arange(count))
    return total / count


def make(variant: str, baseline: str, samples: int, threads: int):
    """A step: one call of the jitted function."""
    estimate = blocks if variant == "scan" else whole

    @jax.jit
    def jitted(theta, key):
        key, mine = jax.random.split(key)
        return estimate(theta, mine, samples, baseline), key

    theta = jnp.asarray(toy.THETA, jnp.float64 if variant == "float64" else jnp.float32)
    state = [jax.random.PRNGKey(0)]

    def step(seed):
        numbers, state[0] = jitted(theta, state[0])
        cost, grad = np.asarray(numbers).tolist()
        return cost, grad, math.nan

    return step
