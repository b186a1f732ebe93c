"""CartPole by hand in jitted JAX, float32. Variants: ``"differentiated"`` scans over the steps of an episode, under
`vmap`, and differentiates the surrogate; ``"forward"`` scans over the steps of all episodes at once, and carries the
sums of the scores and of the gradient, whose formula is written out: nothing is kept of the steps.

The key stays on the device; a step ends when all gradients are there."""

import math

import cartpole
from nets_with_jax import jax, jnp, others_less, setup  # it sets XLA's flags  # noqa: F401


def starts(key, samples: int):
    """The four numbers of each episode."""
    return tuple(jax.random.uniform(key, (4, samples), minval=-cartpole.START, maxval=cartpole.START))


def moved(state, push, standing):
    """The next state, and whether the pole still stands."""
    state = cartpole.moved(state, push, jnp.cos, jnp.sin)
    return state, standing * (jnp.abs(state[0]) <= cartpole.TRACK) * (jnp.abs(state[2]) <= cartpole.LEAN)


def surrogate(p, key, samples: int, ends: bool):
    """The surrogate, and the mean cost."""
    def step(carry, uniform):
        state, standing = carry
        logits = cartpole.logits(p, state)
        push = (uniform < jax.nn.sigmoid(jax.lax.stop_gradient(logits))).astype(jnp.float32)
        score = push * logits - jax.nn.softplus(logits)
        return moved(state, push, standing), (score * standing if ends else score, -standing)

    def episode(state, uniforms):
        return jax.lax.scan(step, (state, jnp.float32(1.0)), uniforms)[1]

    first, later = jax.random.split(key)
    uniforms = jax.random.uniform(later, (cartpole.STEPS, samples))
    scores, costs = jax.vmap(episode, in_axes=(0, 1), out_axes=1)(starts(first, samples), uniforms)
    to_come = jnp.cumsum(costs[::-1], 0)[::-1] - costs
    whole = costs.sum(0).mean()
    return whole + (others_less(to_come.T).T * scores).sum(0).mean(), whole


def differentiated(p, key, samples: int, ends: bool):
    """Mean cost and gradient, by JAX's differentiation."""
    (_, cost), grad = jax.value_and_grad(surrogate, has_aux=True)(p, key, samples, ends)
    return cost, grad


def forward(p, key, samples: int, ends: bool):
    """The same in one pass: a step's cost weighs the scores of all draws before it."""
    def step(carry, key):
        state, standing, scores, grads, cost = carry
        weight = others_less(-standing)
        grads = tuple(g + weight * z for g, z in zip(grads, scores))
        chance = jax.nn.sigmoid(cartpole.logits(p, state))
        push = (jax.random.uniform(key, (samples,)) < chance).astype(jnp.float32)
        score = (push - chance) * standing if ends else push - chance
        scores = tuple(z + score * x for z, x in zip(scores, (*state, 1.0)))
        return (*moved(state, push, standing), scores, grads, cost - standing), None

    first, later = jax.random.split(key)
    zeros = jnp.zeros(samples)
    begin = starts(first, samples), jnp.ones(samples), (zeros,) * 5, (zeros,) * 5, zeros
    (*_, grads, cost), _ = jax.lax.scan(step, begin, jax.random.split(later, cartpole.STEPS))
    return cost.mean(), jnp.stack([g.mean() for g in grads])


FORMS = {"differentiated": differentiated, "forward": forward}


def make(variant: str, problem: str, samples: int, threads: int):
    """A step: one call of the jitted function."""
    policy, ends = cartpole.PROBLEMS[problem]

    @jax.jit
    def jitted(p, key):
        key, mine = jax.random.split(key)
        return *FORMS[variant](p, mine, samples, ends), key

    p, state = jnp.asarray(policy, jnp.float32), [jax.random.PRNGKey(0)]

    def step(seed):
        cost, grad, state[0] = jax.block_until_ready(jitted(p, state[0]))
        return float(cost), cartpole.along(grad), math.nan

    return step
