"""The estimators of `forms.py` by hand in jitted JAX, float32, written as for PyTorch in `forms_with_torch.py`.
Variants are the estimators; those that end in ``" checked"`` return the gradient's projection too."""

import math

import forms
import nets
import nets_with_jax
import toy

jax, jnp, setup = nets_with_jax.jax, nets_with_jax.jnp, nets_with_jax.setup  # which sets the threads before it imports
log_p, stop = nets_with_jax.log_p, jax.lax.stop_gradient


# --- draws -----------------------------------------------------------------------------------------------------------
def uniform(key, shape):
    """Of the open interval."""
    return jax.random.uniform(key, shape, minval=1e-7, maxval=1.0 - 1e-7)


def latent(a, u):
    """z, of which the draw is the sign."""
    return a + jnp.log(u) - jnp.log1p(-u)


def latent_given(a, b, v):
    """z̃, given the draw: uniforms below or above σ(−a)."""
    rest = jax.nn.sigmoid(-a)
    return latent(a, jnp.clip(b * (rest + v * (1.0 - rest)) + (1.0 - b) * v * rest, 1e-7, 1.0 - 1e-7))


def drawn(a, u):
    """1 with probability σ(a), where z is above 0."""
    return (u > jax.nn.sigmoid(-stop(a))).astype(jnp.float32)


def net(p, site, y):
    """RELAX's own part of the control variate, of a layer's relaxed draws."""
    hidden = jnp.tanh(y @ p[f"{site} W_surrogate_1"] + p[f"{site} b_surrogate_1"])
    return hidden @ p[f"{site} W_surrogate_2"] + p[f"{site} b_surrogate_2"]


def antithetic(estimator, a, u, b, other, gap):
    """ARM's and DisARM's gradient in the log-odds, from the difference of the costs of two antithetic draws."""
    if estimator == "ARM":
        return gap * (u - 0.5)  # b = 1 where u is large
    return 0.5 * gap * (b - other) * jax.nn.sigmoid(jnp.abs(a))


# --- the toy ---------------------------------------------------------------------------------------------------------
def toy_loss(p, x, key, estimator: str, samples: int):
    """What is differentiated, and the cost."""
    cost = lambda b: (b - toy.TARGET) ** 2
    a = stop(jnp.broadcast_to(p["theta"], (samples,)))
    first, second = jax.random.split(key)
    u = uniform(first, a.shape)
    b = drawn(a, u)
    found, objective = cost(b), 0.0
    if estimator in ("ARM", "DisARM"):
        other = drawn(a, 1.0 - u)
        g = antithetic(estimator, a, u, b, other, found - cost(other))
    else:
        heat, eta, v = jnp.exp(p["b log temperature"]), p["b eta"], uniform(second, a.shape)
        c = lambda y: eta * cost(y) + (net(p, "b", y[:, None]) if estimator == "RELAX" else 0.0)
        below = lambda a: c(jax.nn.sigmoid(latent_given(a, b, v) / heat))
        slope = jax.grad(lambda a: (c(jax.nn.sigmoid(latent(a, u) / heat)) - below(a)).sum())(a)
        g = (found - below(a)) * (b - jax.nn.sigmoid(a)) + slope
        objective = (g * g).mean()
    return p["theta"] * stop(g).mean() + objective, found.mean()


# --- the belief net --------------------------------------------------------------------------------------------------
class BeliefNet:
    """Its layers and the parts of its bound, for params as they are or held."""

    def __init__(self, p, x):
        self.p, self.x = p, x

    def dense(self, name, h):
        return h @ self.p[f"W_{name}"] + self.p[f"b_{name}"]

    def above(self, h1, a2, h2):
        """The costs that the second layer moves."""
        return log_p(h2, a2) - log_p(h1, self.dense("down_1", h2)) - log_p(h2, self.p["prior"])

    def whole(self, a1, h1, a2, h2):
        """All costs."""
        return log_p(h1, a1) - log_p(self.x, self.dense("down_0", h1)) + self.above(h1, a2, h2)


def net_loss(p, x, key, estimator: str, samples: int):
    """What is differentiated, and the bound."""
    m, held = BeliefNet(p, x), BeliefNet({name: stop(value) for name, value in p.items()}, x)
    keys = jax.random.split(key, 4)
    a1 = m.dense("up_1", x)
    u1 = uniform(keys[0], (samples, *a1.shape))
    h1 = drawn(a1, u1)
    a2 = m.dense("up_2", h1)
    u2 = uniform(keys[1], a2.shape)
    h2 = drawn(a2, u2)
    whole, objective = m.whole(a1, h1, a2, h2), 0.0
    d1, d2 = stop(a1), stop(a2)
    if estimator in ("ARM", "DisARM"):
        t1, t2 = drawn(d1, 1.0 - u1), drawn(d2, 1.0 - u2)
        b2 = held.dense("up_2", t1)
        gap1 = stop(whole) - held.whole(d1, t1, b2, drawn(b2, u2))
        gap2 = held.above(h1, d2, h2) - held.above(h1, d2, t2)
        g1 = antithetic(estimator, d1, u1, h1, t1, gap1[..., None])
        g2 = antithetic(estimator, d2, u2, h2, t2, gap2[..., None])
    else:
        relaxed = lambda z: jax.nn.sigmoid(z / forms.TEMPERATURE)

        def first(y):
            b2 = held.dense("up_2", y)
            return held.whole(d1, y, b2, relaxed(latent(b2, u2)))

        g1, o1 = controlled(p, "h1", estimator, d1, h1, u1, uniform(keys[2], u1.shape), stop(whole), first, relaxed)
        g2, o2 = controlled(p, "h2", estimator, d2, h2, u2, uniform(keys[3], u2.shape), held.above(h1, d2, h2),
                            lambda y: held.above(h1, d2, y), relaxed)
        objective = o1 + o2
    return (whole + (a1 * stop(g1)).sum(-1) + (a2 * stop(g2)).sum(-1)).mean() + objective, whole.mean()


def controlled(p, site, estimator, a, b, u, v, found, costs, relaxed):
    """A layer's gradient in its log-odds by REBAR or RELAX, and the square of it."""
    a = jnp.broadcast_to(a, b.shape)
    score = b - jax.nn.sigmoid(a)
    below, above = lambda a: relaxed(latent_given(a, b, v)), lambda a: relaxed(latent(a, u))

    def difference(a):
        given = forms.ETA * costs(below(a))
        return (forms.ETA * costs(above(a)) - given).sum(), given

    (_, given), g = jax.value_and_grad(difference, has_aux=True)(a)
    g = stop(g + (found - given)[..., None] * score)
    if estimator == "REBAR":
        return g, 0.0
    own = lambda a: (net(p, site, above(a)) - net(p, site, below(a))).sum()
    g = g - net(p, site, below(a))[..., None] * score + jax.grad(own)(a)
    return g, (g * g).sum(-1).mean()


def make(variant: str, model: str, samples: int, threads: int):
    """A step: one call of the jitted function."""
    estimator, _, what = variant.partition(" ")
    loss = toy_loss if model == "toy" else net_loss

    @jax.jit
    def jitted(p, x, key):
        key, mine = jax.random.split(key)
        (_, cost), grads = jax.value_and_grad(loss, has_aux=True)(p, x, mine, estimator, samples)
        return cost, grads, key

    p = jax.tree.map(jnp.asarray, forms.params(model, estimator))
    x = None if model == "toy" else jnp.asarray(nets.data(model))
    state = [jax.random.PRNGKey(0)]

    def step(seed):
        cost, grads, state[0] = jax.block_until_ready(jitted(p, x, state[0]))
        return float(cost), forms.along(model, estimator, grads) if what == "checked" else math.nan, math.nan

    return step
