"""The estimators of `forms.py` by hand in PyTorch, float32, as their authors' code has them: gradients in the log-odds
of draws by the estimator, and from there on by autograd. Variants are the estimators; those that end in ``" checked"``
return the gradient's projection too."""

import math

import forms
import nets
import nets_with_torch
import torch
import toy

setup = nets_with_torch.setup
log_p = nets_with_torch.log_p


# --- draws -----------------------------------------------------------------------------------------------------------
def logit(u):
    """Logistic noise."""
    return torch.log(u) - torch.log1p(-u)


def uniform(like):
    """Of the open interval."""
    return torch.rand_like(like).clamp_(1e-7, 1.0 - 1e-7)


def latent(a, u):
    """z, of which the draw is the sign."""
    return a + logit(u)


def latent_given(a, b, v):
    """z̃, given the draw: uniforms below or above σ(−a)."""
    rest = torch.sigmoid(-a)
    return a + logit((b * (rest + v * (1.0 - rest)) + (1.0 - b) * v * rest).clamp(1e-7, 1.0 - 1e-7))


def net(p, site, y):
    """RELAX's own part of the control variate, of a layer's relaxed draws."""
    hidden = torch.tanh(y @ p[f"{site} W_surrogate_1"] + p[f"{site} b_surrogate_1"])
    return hidden @ p[f"{site} W_surrogate_2"] + p[f"{site} b_surrogate_2"]


def drawn(a, u):
    """1 with probability σ(a), where z is above 0."""
    return (u > torch.sigmoid(-a)).float()


# --- the toy ---------------------------------------------------------------------------------------------------------
def toy_step(p, estimator: str, samples: int):
    """The surrogate, the cost, and what the control variate learns by."""
    cost = lambda b: (b - toy.TARGET) ** 2
    a = p["theta"].detach().expand(samples).clone().requires_grad_(estimator in ("REBAR", "RELAX"))
    u = uniform(a.detach())
    b = drawn(a.detach(), u)
    found, objective = cost(b), None
    if estimator in ("ARM", "DisARM"):
        other = drawn(a, 1.0 - u)
        g = antithetic(estimator, a, u, b, other, found - cost(other))
    else:
        heat, eta = p["b log temperature"].exp(), p["b eta"]
        below, above = (torch.sigmoid(z / heat) for z in (latent_given(a, b, uniform(a.detach())), latent(a, u)))
        c = lambda y: eta * cost(y) + (net(p, "b", y[:, None]) if estimator == "RELAX" else 0.0)
        given = c(below)
        (slope,) = torch.autograd.grad((c(above) - given).sum(), a, create_graph=True)
        g = (found - given) * (b - torch.sigmoid(a)) + slope
        objective = (g * g).mean()
    return p["theta"] * g.detach().mean(), found.mean(), objective


def antithetic(estimator, a, u, b, other, gap):
    """ARM's and DisARM's gradient in the log-odds, from the difference of the costs of two antithetic draws."""
    if estimator == "ARM":
        return gap * (u - 0.5)  # b = 1 where u is large
    return 0.5 * gap * (b - other) * torch.sigmoid(a.abs())


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


def net_step(p, x, estimator: str, samples: int):
    """The surrogate, the bound, and what the control variate learns by."""
    m, held = BeliefNet(p, x), BeliefNet({name: value.detach() for name, value in p.items()}, x)
    a1 = m.dense("up_1", x)
    u1 = uniform(a1.detach().expand(samples, -1, -1))
    h1 = drawn(a1.detach(), u1)
    a2 = m.dense("up_2", h1)
    u2 = uniform(a2.detach())
    h2 = drawn(a2.detach(), u2)
    whole = m.whole(a1, h1, a2, h2)
    d1, d2 = a1.detach(), a2.detach()
    objective = None
    if estimator in ("ARM", "DisARM"):
        with torch.no_grad():
            t1 = drawn(d1, 1.0 - u1)
            b2 = held.dense("up_2", t1)
            gap1 = whole - held.whole(d1, t1, b2, drawn(b2, u2))
            t2 = drawn(d2, 1.0 - u2)
            gap2 = held.above(h1, d2, h2) - held.above(h1, d2, t2)
            g1 = antithetic(estimator, d1, u1, h1, t1, gap1[..., None])
            g2 = antithetic(estimator, d2, u2, h2, t2, gap2[..., None])
    else:
        relaxed = lambda z: torch.sigmoid(z / forms.TEMPERATURE)

        def first(y):
            b2 = held.dense("up_2", y)
            return held.whole(d1, y, b2, relaxed(latent(b2, u2)))

        g1, o1 = controlled(p, "h1", estimator, d1.expand_as(h1), h1, u1, whole, first, relaxed)
        g2, o2 = controlled(p, "h2", estimator, d2, h2, u2, held.above(h1, d2, h2),
                            lambda y: held.above(h1, d2, y), relaxed)
        objective = o1 + o2 if estimator == "RELAX" else None
    return (whole + (a1 * g1).sum(-1) + (a2 * g2).sum(-1)).mean(), whole.detach().mean(), objective


def controlled(p, site, estimator, a, b, u, found, costs, relaxed):
    """A layer's gradient in its log-odds by REBAR or RELAX, and the square of it."""
    a = a.clone().requires_grad_()
    below, above = relaxed(latent_given(a, b, uniform(u))), relaxed(latent(a, u))
    score = b - torch.sigmoid(a.detach())
    given = forms.ETA * costs(below)
    (g,) = torch.autograd.grad((forms.ETA * costs(above) - given).sum(), a, retain_graph=True)
    g = g + (found.detach() - given.detach())[..., None] * score
    if estimator == "REBAR":
        return g, None
    low = net(p, site, below)
    (slope,) = torch.autograd.grad((net(p, site, above) - low).sum(), a, create_graph=True)
    g = g - low[..., None] * score + slope
    return g.detach(), (g * g).sum(-1).mean()


def make(variant: str, model: str, samples: int, threads: int):
    """A step: forward and backward."""
    estimator, _, what = variant.partition(" ")
    p = {name: torch.tensor(value, requires_grad=True) for name, value in forms.params(model, estimator).items()}
    learned = list(forms.learned(model, estimator))
    x = torch.tensor(nets.data(model)) if model != "toy" else None

    def step(seed):
        for value in p.values():
            value.grad = None
        if model == "toy":
            surrogate, cost, objective = toy_step(p, estimator, samples)
        else:
            surrogate, cost, objective = net_step(p, x, estimator, samples)
        surrogate.backward(retain_graph=objective is not None)
        if objective is not None:
            for name, grad in zip(learned, torch.autograd.grad(objective, [p[name] for name in learned])):
                p[name].grad = grad
        grads = {name: value.grad.numpy() for name, value in p.items()}
        return cost.item(), forms.along(model, estimator, grads) if what == "checked" else math.nan, math.nan

    return step
