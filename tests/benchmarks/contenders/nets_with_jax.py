"""Nets by hand in jitted JAX, float32. Variants: ``"jitted"``, and ``"checked"``, which also returns the gradient's
projection. Params and keys stay on the device; a step ends when all gradients are there."""

import math
import os

_threads = len(os.sched_getaffinity(0))
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(_threads > 1).lower()}"
os.environ["NPROC"] = str(_threads)  # the size of XLA's pools
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import nets  # noqa: E402


def setup(threads: int) -> dict:
    """Versions and threads."""
    return {"versions": f"jax {jax.__version__}", "threads": f"NPROC={threads}, {os.environ['XLA_FLAGS']}",
            "dtype": "float32"}


def log_p(z, logits):
    """Of Bernoulli variables, summed over the last dimension."""
    return (z * logits - jax.nn.softplus(logits)).sum(-1)


def others_less(signal):
    """Less the mean of the other samples, not differentiated."""
    signal = jax.lax.stop_gradient(signal)
    return signal - (signal.sum(0, keepdims=True) - signal) / (signal.shape[0] - 1)


def belief_net(p, x, key, samples: int):
    """The surrogate, and the bound."""
    dense = lambda name, h: h @ p[f"W_{name}"] + p[f"b_{name}"]
    draw = lambda key, logits, shape: jax.random.bernoulli(
        key, jax.nn.sigmoid(jax.lax.stop_gradient(logits)), shape).astype(jnp.float32)
    low, high = jax.random.split(key)
    a1 = dense("up_1", x)
    h1 = draw(low, a1, (samples, *a1.shape))
    a2 = dense("up_2", h1)
    h2 = draw(high, a2, a2.shape)
    q1, q2 = log_p(h1, a1), log_p(h2, a2)
    p0, p1, p2 = log_p(x, dense("down_0", h1)), log_p(h1, dense("down_1", h2)), log_p(h2, p["prior"])
    above = q2 - p1 - p2
    whole = q1 - p0 + above
    return (whole + others_less(whole) * q1 + others_less(above) * q2).mean(), whole.mean()


def autoencoder(p, x, key, samples: int):
    """The bound, twice."""
    dense = lambda name, h: h @ p[f"W_{name}"] + p[f"b_{name}"]
    h = jnp.tanh(dense("encoder", x))
    loc, log_scale = dense("loc", h), dense("scale", h)
    scale = jnp.exp(log_scale)
    z = loc + scale * jax.random.normal(key, (samples, *loc.shape))
    logits = dense("image", jnp.tanh(dense("decoder", z)))
    divergence = (0.5 * (loc * loc + scale * scale) - log_scale - 0.5).sum(-1).mean()
    bound = divergence - log_p(x, logits).mean()
    return bound, bound


BOUNDS = {"belief net": belief_net, "autoencoder": autoencoder}


def make(variant: str, model: str, samples: int, threads: int):
    """A step: one call of the jitted function."""
    @jax.jit
    def jitted(p, x, key):
        key, mine = jax.random.split(key)
        (_, bound), grads = jax.value_and_grad(BOUNDS[model], has_aux=True)(p, x, mine, samples)
        return bound, grads, key

    p, x = jax.tree.map(jnp.asarray, nets.params(model)), jnp.asarray(nets.data(model))
    state = [jax.random.PRNGKey(0)]

    def step(seed):
        bound, grads, state[0] = jax.block_until_ready(jitted(p, x, state[0]))
        return float(bound), nets.along(model, grads) if variant == "checked" else math.nan, math.nan

    return step
