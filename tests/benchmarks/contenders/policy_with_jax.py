"""The policy by hand in jitted JAX, float32: a scan over steps of all trajectories at once. One variant.

The key stays on the device; a step ends when all gradients are there."""

import math

import policy
from nets_with_jax import jax, jnp, others_less, setup  # it sets XLA's flags  # noqa: F401


def surrogate(p, key, samples: int):
    """The surrogate, and the mean cost."""
    def step(x, key):
        logits = p[0] * x + p[1]
        push = jax.random.bernoulli(key, jax.nn.sigmoid(jax.lax.stop_gradient(logits)), (samples,)).astype(jnp.float32)
        x = 0.95 * x + 0.2 * push - 0.1
        return x, (push * logits - jax.nn.softplus(logits), x * x)

    start = jnp.full(samples, policy.START, jnp.float32)
    _, (scores, costs) = jax.lax.scan(step, start, jax.random.split(key, policy.STEPS))
    to_go = jnp.cumsum(costs[::-1], 0)[::-1]
    weighed = (others_less(to_go.T).T * scores).sum(0)
    whole = costs.sum(0)
    return (whole + weighed).mean(), whole.mean()


def make(variant: str, problem: str, samples: int, threads: int):
    """A step: one call of the jitted function."""
    @jax.jit
    def jitted(p, key):
        key, mine = jax.random.split(key)
        (_, cost), grad = jax.value_and_grad(surrogate, has_aux=True)(p, mine, samples)
        return cost, grad, key

    p = jnp.asarray([policy.WEIGHT, policy.BIAS], jnp.float32)
    state = [jax.random.PRNGKey(0)]
    a, b = policy.DIRECTION

    def step(seed):
        cost, grad, state[0] = jax.block_until_ready(jitted(p, state[0]))
        return float(cost), a * float(grad[0]) + b * float(grad[1]), math.nan

    return step
