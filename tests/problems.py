"""Small graphs with values, and where there is one, a closed form: what the laws are tried on.

A problem is a function in the registry `PROBLEMS` under its own name; calling it builds a fresh graph. `cost` and
`grad` are closed forms, computed here in plain NumPy or copied from a paper; where they are None the laws take
`scg.exact`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import special

import scg


@dataclass(frozen=True)
class Problem:
    """A graph with values.

    Parameters
    ----------
    graph : Graph
    values : dict of str to array_like
        For a call.
    finite : bool
        Whether its sites take finitely many values, so that the exact law applies.
    cost : float, optional
        Closed form of the objective.
    grad : dict of str to array_like, optional
        Closed form of its gradient.
    source : str
        Where the closed form comes from.
    """

    graph: scg.Graph
    values: Mapping[str, Any]
    finite: bool
    cost: float | None = None
    grad: Mapping[str, Any] | None = None
    source: str = "scg.exact"


PROBLEMS: dict[str, Callable[[], Problem]] = {}


def problem(build: Callable[[], Problem]) -> Callable[[], Problem]:
    """Register a problem under the function's name."""
    assert build.__name__ not in PROBLEMS, f"two problems are named {build.__name__}"
    PROBLEMS[build.__name__] = build
    return build


@cache
def finite_problems() -> list[str]:
    """Names of the problems to which the exact law applies."""
    return [name for name, build in PROBLEMS.items() if build().finite]


@cache
def continuous_problems() -> list[str]:
    """Names of the problems that only sampling can test."""
    return [name for name, build in PROBLEMS.items() if not build().finite]


def _numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- one discrete site -----------------------------------------------------------------------------------------------
@problem
def bernoulli_toy() -> Problem:
    """(b − t)² with a logit: the toy of REBAR and RELAX."""
    theta, t = 0.3, 0.45
    g = scg.Graph("bernoulli_toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - t) ** 2)
    p = special.expit(theta)
    return Problem(g, {"theta": theta}, True, p * (1 - t) ** 2 + (1 - p) * t**2,
                   {"theta": (1 - 2 * t) * p * (1 - p)}, "RELAX toy: (1 − 2t) p (1 − p)")


@problem
def bernoulli_probs() -> Problem:
    """The same with a probability, and a cost that is differentiated too."""
    p = 0.35
    g = scg.Graph("bernoulli_probs")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(probs=theta))
    g.cost("loss", np.exp(theta * b) + b)
    return Problem(g, {"theta": p}, True, p * (np.exp(p) + 1) + (1 - p),
                   {"theta": np.exp(p) + 1 + p * np.exp(p) - 1}, "sum of two terms")


@problem
def shared_logit() -> Problem:
    """Three units that share a logit: the toy of Kool et al. 2020."""
    g = scg.Graph("shared_logit")
    b = g.sample("b", scg.Bernoulli(logits=g.param("eta")), shape=(3,))
    g.cost("loss", (b - np.array([0.6, 0.51, 0.48])) ** 2)
    return Problem(g, {"eta": 0.0}, True, 0.7605, {"eta": -0.0450}, "Kool, van Hoof & Welling 2020")


@problem
def call_level_cost() -> Problem:
    """A cost that depends on the parameter only stands beside one that is sampled."""
    theta, t = -0.4, 0.2
    g = scg.Graph("call_level_cost")
    node = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=node))
    g.cost("loss", (b - t) ** 2)
    g.cost("decay", node**2, scale=0.5)
    p = special.expit(theta)
    return Problem(g, {"theta": theta}, True, p * (1 - t) ** 2 + (1 - p) * t**2 + 0.5 * theta**2,
                   {"theta": (1 - 2 * t) * p * (1 - p) + theta}, "toy + θ²/2")


@problem
def categorical_toy() -> Problem:
    """The square of an integer."""
    logits = np.array([0.3, -1.0, 0.8])
    g = scg.Graph("categorical_toy")
    k = g.sample("k", scg.Categorical(logits=g.param("logits", 3)))
    g.cost("loss", (k - 0.7) ** 2)
    p, f = special.softmax(logits), (np.arange(3) - 0.7) ** 2
    return Problem(g, {"logits": logits}, True, p @ f, {"logits": p * (f - p @ f)}, "softmax Jacobian")


@problem
def categorical_weights() -> Problem:
    """Unnormalised probabilities: the derivative is that along the normalised family."""
    w = np.array([0.4, 1.5, 0.9])
    g = scg.Graph("categorical_weights")
    k = g.sample("k", scg.Categorical(probs=g.param("w", 3)))
    g.cost("loss", (k + 2.0) ** 2)
    p, f = w / w.sum(), (np.arange(3) + 2.0) ** 2
    return Problem(g, {"w": w}, True, p @ f, {"w": (f - p @ f) / w.sum()}, "∂ (Σ w f / Σ w)")


@problem
def scan_masked() -> Problem:
    """Probabilities that are 0 or 1 in some replicates, and do not move there: a unit that rests after it has fired."""
    g = scg.Graph("scan_masked")
    p, c = g.param("p"), g.param("c")

    def step(s, _):
        h = g.sample("h", scg.Bernoulli(probs=(1.0 - s) * scg.sigmoid(p)))
        g.cost("each", (h - c) ** 2)
        return h, h

    last, hs = g.scan(step, 0.0, length=3)
    k = g.sample("k", scg.Categorical(probs=scg.stack([c, last * p, 0.0])))
    b = g.sample("b", scg.Bernoulli(probs=scg.where(hs[1] > 0.5, 1.0, c)))
    g.cost("after", (k - 0.3 * b) ** 2 + b * p)
    return Problem(g, {"p": 0.6, "c": 0.35}, True)


@problem
def categorical_table() -> Problem:
    """A table that is looked up at a sample, and differentiated."""
    logits, table = np.array([0.2, -0.5, 0.9, 0.1]), np.array([1.0, -2.0, 0.5, 3.0])
    g = scg.Graph("categorical_table")
    k = g.sample("k", scg.Categorical(logits=g.param("logits", 4)))
    g.cost("loss", g.param("table", 4)[k])
    p = special.softmax(logits)
    return Problem(g, {"logits": logits, "table": table}, True, p @ table,
                   {"logits": p * (table - p @ table), "table": p}, "softmax Jacobian")


# --- several discrete sites ------------------------------------------------------------------------------------------
@problem
def two_layer_net() -> Problem:
    """Two layers of two units; costs on both branches, one of which reads both layers and a parameter."""
    rs = _numbers()
    values = {"W1": rs.normal(size=(2, 2)), "b1": rs.normal(size=2), "W2": rs.normal(size=(2, 2)),
              "b2": rs.normal(size=2), "v": rs.normal(size=2), "a": rs.normal(size=2)}
    return Problem(_two_layers("two_layer_net", values), values, True)


@problem
def tiny_net() -> Problem:
    """The same with one unit a layer: for pairs of estimators whose noise falls into many pieces."""
    rs = _numbers(3)
    values = {"W1": rs.normal(size=(1, 2)), "b1": rs.normal(size=1), "W2": rs.normal(size=(1, 1)),
              "b2": rs.normal(size=1), "v": rs.normal(size=1), "a": rs.normal(size=1)}
    return Problem(_two_layers("tiny_net", values), values, True)


def _two_layers(name: str, values) -> scg.Graph:
    g = scg.Graph(name)
    p = {k: g.param(k, v.shape) for k, v in values.items()}
    h1 = g.sample("h1", scg.Bernoulli(logits=p["W1"] @ np.array([0.7, -1.2]) + p["b1"]))
    h2 = g.sample("h2", scg.Bernoulli(logits=p["W2"] @ h1 + p["b2"]))
    g.cost("fit", ((p["v"] * h2).sum() - 0.4 + 0.3 * h1[0] * p["a"][0]) ** 2)
    g.cost("branch", (p["a"] * h1).sum() * 0.5)
    return g


@problem
def chain() -> Problem:
    """Three scalar sites in a row, a cost after each; the parameter of the first reaches all."""
    g = scg.Graph("chain")
    a, b, c = g.param("a"), g.param("b"), g.param("c")
    x = g.sample("x", scg.Bernoulli(logits=a))
    g.cost("first", (x - 0.3) * b)
    y = g.sample("y", scg.Bernoulli(logits=b * x - 0.2 + a * a))
    g.cost("second", np.sin(x + 2.0 * y))
    z = g.sample("z", scg.Bernoulli(logits=c + x - 1.5 * y))
    g.cost("third", (z + 0.5 * y - b) ** 2)
    return Problem(g, {"a": 0.4, "b": -0.7, "c": 0.9}, True)


@problem
def bernoulli_to_categorical() -> Problem:
    """A row of a table of logits chosen by a sample, and a second site with a parameter in common."""
    rs = _numbers(4)
    values = {"theta": 0.25, "logits": rs.normal(size=(2, 3))}
    g = scg.Graph("bernoulli_to_categorical")
    theta, logits = g.param("theta"), g.param("logits", (2, 3))
    b = g.sample("b", scg.Bernoulli(logits=theta))
    k = g.sample("k", scg.Categorical(logits=logits[b] + theta * np.array([1.0, 0.0, -1.0])))
    g.cost("loss", np.cos(k) * (1.0 + b) + theta * k)
    return Problem(g, values, True)


# --- rows ------------------------------------------------------------------------------------------------------------
@problem
def rows() -> Problem:
    """A site for each row of the data, and a cost without rows beside it."""
    rs = _numbers(5)
    values = {"w": np.array([0.3, -0.2]), "x": rs.normal(size=(3, 2)), "y": rs.normal(size=3)}
    g = scg.Graph("rows")
    w, x, y = g.param("w", 2), g.data("x", 2), g.data("y")
    h = g.sample("h", scg.Bernoulli(logits=x @ w))
    g.cost("fit", (h - y) ** 2 * x.sum())
    g.cost("decay", w**2)
    p, q = special.expit(values["x"] @ values["w"]), values["x"].sum(axis=1)
    one, none = (1 - values["y"]) ** 2 * q, values["y"] ** 2 * q
    return Problem(g, values, True, np.mean(p * one + (1 - p) * none) + (values["w"] ** 2).sum(),
                   {"w": np.mean((p * (1 - p) * (one - none))[:, None] * values["x"], axis=0) + 2 * values["w"]},
                   "sum over rows of p (1 − p) (f(1) − f(0)) x")


@problem
def shared_weights() -> Problem:
    """Random weights shared by all rows, a site for each row that depends on them, and a divergence without rows."""
    rs = _numbers(6)
    values = {"m": np.array([0.3, -0.2]), "x": rs.normal(size=(3, 2)), "y": rs.normal(size=3)}
    g = scg.Graph("shared_weights")
    m, x, y = g.param("m", 2), g.data("x", 2), g.data("y")
    q = scg.Bernoulli(logits=m)
    w = g.sample("w", q)
    h = g.sample("h", scg.Bernoulli(logits=x @ w - 0.3))
    g.cost("fit", (h - y) ** 2 * x.sum() + w.sum() * y)
    g.cost("kl", scg.kl_divergence(q, scg.Bernoulli(probs=0.5)))
    return Problem(g, values, True)


@problem
def per_row_site() -> Problem:
    """A site whose parameter does not depend on the row, drawn for each row nevertheless."""
    rs = _numbers(7)
    values = {"theta": 0.6, "x": rs.normal(size=3)}
    g = scg.Graph("per_row_site")
    theta, x = g.param("theta"), g.data("x")
    b = g.sample("b", scg.Bernoulli(logits=theta), per_row=True)
    k = g.sample("k", scg.Categorical(logits=scg.stack([theta * b, x, 0.0 * theta])))
    g.cost("loss", (k - x) ** 2 + b * x)
    return Problem(g, values, True)


# --- scans -----------------------------------------------------------------------------------------------------------
def scan_values(n: int = 2) -> dict[str, np.ndarray]:
    """Parameters of a recurrent net of n units."""
    rs = _numbers(1)
    return {"W": rs.normal(size=(n, n)), "b": rs.normal(size=n), "v": rs.normal(size=n), "A": rs.normal(size=(n, n)),
            "m0": rs.normal(size=n)}


def _scan_step(g: scg.Graph, p, s, m, tag: str = ""):
    logits = p["W"] @ s + p["b"] + 0.5 * m
    g.cost("before" + tag, 0.3 * m.sum() ** 2)
    h = g.sample("h" + tag, scg.Bernoulli(logits=logits))
    new = np.tanh(p["A"] @ m + h)
    g.cost("after" + tag, ((p["v"] * h).sum() + new[0]) ** 2)
    return h, new


def scanned(length: int, units: int = 2) -> scg.Graph:
    """A recurrent net with a pathwise carry: costs before and after the site of each step, and one at the end."""
    g = scg.Graph(f"scan_{length}_steps")
    p = {k: g.param(k, v.shape) for k, v in scan_values(units).items()}
    (_, m), _ = g.scan(lambda carry, x: (_scan_step(g, p, *carry), None), (np.zeros(units), p["m0"]), length=length)
    g.cost("last", (m * p["v"]).sum())
    return g


def unrolled(length: int, units: int = 2) -> scg.Graph:
    """The same graph as `scanned`, step by step."""
    g = scg.Graph(f"unrolled_{length}_steps")
    p = {k: g.param(k, v.shape) for k, v in scan_values(units).items()}
    s, m = np.zeros(units), p["m0"]
    for t in range(length):
        s, m = _scan_step(g, p, s, m, f"[{t}]")
    g.cost("last", (m * p["v"]).sum())
    return g


@problem
def scan_3_steps() -> Problem:
    """A recurrent net of two units over three steps."""
    return Problem(scanned(3), scan_values(), True)


@problem
def scan_4_steps(steps: int = 4) -> Problem:
    """The same with one unit over four steps."""
    return Problem(scanned(steps, 1), scan_values(1), True)


@problem
def scan_of_one_step() -> Problem:
    """The shortest scan: E of b·m with b ~ Bernoulli(logits=m)."""
    g = scg.Graph("scan_of_one_step")
    m = g.param("m")

    def step(carry, _):
        b = g.sample("b", scg.Bernoulli(logits=m))
        g.cost("c", b * carry)
        return carry + b, None

    g.scan(step, m, length=1)
    p = 1 / (1 + np.exp(-0.3))
    return Problem(g, {"m": 0.3}, True, 0.3 * p, {"m": p + 0.3 * p * (1 - p)}, "E[b] = p")


@problem
def coin_in_scan() -> Problem:
    """A coin without parameters, tossed outside and read in every step: E of Σ_t (m c + b_t c) = 0.3·2·(m + p)."""
    g = scg.Graph("coin_in_scan")
    m = g.param("m")
    coin = g.sample("coin", scg.Bernoulli(probs=0.3))

    def step(carry, _):
        b = g.sample("b", scg.Bernoulli(logits=m))
        g.cost("c", (carry + b) * coin)
        return carry, None

    last, _ = g.scan(step, m, length=2)
    g.cost("last", 2.0 * last)
    p = 1 / (1 + np.exp(-0.3))
    return Problem(g, {"m": 0.3}, True, 0.6 * (0.3 + p) + 0.6, {"m": 0.6 * (1 + p * (1 - p)) + 2.0}, "E[b] = p")


@problem
def scan_beside_site() -> Problem:
    """A loop whose costs read a site, and whose carry does not."""
    g = scg.Graph("scan_beside_site")
    m = g.param("m")
    b = g.sample("b", scg.Bernoulli(logits=m))

    def step(carry, x):
        g.cost("c", carry * x * b)
        return 0.5 * carry, None

    last, _ = g.scan(step, m, xs=np.array([1.0, 3.0]))
    g.cost("last", last)
    p = 1 / (1 + np.exp(-0.3))
    return Problem(g, {"m": 0.3}, True, 0.75 * p + 0.075, {"m": 2.5 * p + 0.75 * p * (1 - p) + 0.25}, "E[b] = p")


@problem
def shared_path_in_scan() -> Problem:
    """A random path that all rows share: each step is compared with data of the row, the end with nothing of it."""
    g = scg.Graph("shared_path_in_scan")
    m, x = g.param("m"), g.data("x", 2)

    def step(carry, element):
        z = g.sample("z", scg.Bernoulli(logits=m))
        g.cost("c", (z - element) ** 2)
        return carry + z, None

    last, _ = g.scan(step, 0.0, xs=x)
    g.cost("last", last**2)
    p, rows = 1 / (1 + np.exp(-0.3)), np.array([[0.0, 0.1], [0.3, 0.7]])
    cost = 2 * p - 2 * p * rows.mean(axis=0).sum() + (rows**2).sum(axis=1).mean() + 2 * p + 2 * p**2
    grad = p * (1 - p) * (2 - 2 * rows.mean(axis=0).sum() + 2 + 4 * p)
    return Problem(g, {"m": 0.3, "x": rows}, True, cost, {"m": grad}, "E[z] = E[z²] = p")


@problem
def truths_in_scan() -> Problem:
    """Comparisons that a scan runs along, and that its step reads from outside, are truth values in the step too."""
    g = scg.Graph("truths_in_scan")
    m = g.param("m")
    coins = g.sample("coins", scg.Bernoulli(logits=m), shape=2)
    first = coins[0] > 0.5

    def step(carry, head):
        b = g.sample("b", scg.Bernoulli(logits=m))
        g.cost("c", (head + head) * b + 0.5 * (first & (b > 0.5)))
        return carry, None

    g.scan(step, 0.0, xs=coins > 0.5)
    p = 1 / (1 + np.exp(-0.3))
    return Problem(g, {"m": 0.3}, True, 5 * p**2, {"m": 10 * p**2 * (1 - p)}, "independent draws")


@problem
def data_beside() -> Problem:
    """Data that no site and no cost reads."""
    g = scg.Graph("data_beside")
    theta, _ = g.param("theta"), g.data("x")
    g.cost("loss", (g.sample("b", scg.Bernoulli(logits=theta)) - 0.45) ** 2)
    p = 1 / (1 + np.exp(-0.3))
    return Problem(g, {"theta": 0.3, "x": np.arange(3.0)}, True, 0.2025 + 0.1 * p, {"theta": 0.1 * p * (1 - p)},
                   "the toy")


@problem
def unrolled_2_steps() -> Problem:
    """The net of the scans, step by step."""
    return Problem(unrolled(2), scan_values(), True)


@problem
def scan_along_data(steps: int = 3) -> Problem:
    """A scan along the data of each row, with a categorical site and outputs that are used after it."""
    rs = _numbers(8)
    values = {"w": rs.normal(size=3), "c": 0.3, "x": rs.normal(size=(2, steps))}
    g = scg.Graph("scan_along_data")
    w, c, x = g.param("w", 3), g.param("c"), g.data("x", steps)

    def step(s, xt):
        k = g.sample("k", scg.Categorical(logits=w * xt + s * np.array([0.0, 1.0, -1.0])))
        new = np.tanh(0.5 * s + k * c)
        g.cost("each", (k - xt) ** 2 * c)
        return new, new * xt

    last, ys = g.scan(step, c * 0.5, xs=x)
    g.cost("after", ys.sum() + last**2)
    return Problem(g, values, True)


# --- families with data ----------------------------------------------------------------------------------------------
@problem
def shifted_log_normal() -> Problem:
    """E (c + e^x)² = c² + 2 c e^(m + s²/2) + e^(2 m + 2 s²), for a normal x."""
    m, s, c = 0.3, 0.5, 0.7
    g = scg.Graph("shifted_log_normal")
    loc, scale, shift = g.param("m"), g.param("s"), g.param("c")
    y = g.sample("y", scg.Transformed(scg.Normal(loc=loc, scale=scale), lambda x: np.exp(x)))
    g.cost("loss", (shift + y) ** 2)
    first, second = np.exp(m + 0.5 * s * s), np.exp(2 * m + 2 * s * s)
    return Problem(g, {"m": m, "s": s, "c": c}, False, c * c + 2 * c * first + second,
                   {"m": 2 * c * first + 2 * second, "s": 2 * c * s * first + 4 * s * second, "c": 2 * c + 2 * first},
                   "moments of the log-normal distribution")


@problem
def mixture_cosine() -> Problem:
    """E cos x = Σ wₖ e^(−sₖ²/2) cos mₖ for a mixture of normals."""
    w, m, s = special.softmax([0.3, -0.4]), np.array([0.8, -1.0]), np.array([0.5, 1.2])
    g = scg.Graph("mixture_cosine")
    loc = g.param("m", 2)
    parts = [scg.Normal(loc=loc[k], scale=s[k]) for k in range(2)]
    g.cost("loss", np.cos(g.sample("x", scg.Mixture(parts, logits=g.param("w", 2)))))
    each, slope = np.exp(-0.5 * s * s) * np.cos(m), -np.exp(-0.5 * s * s) * np.sin(m)
    return Problem(g, {"w": [0.3, -0.4], "m": m}, False, w @ each, {"w": w * (each - w @ each), "m": w * slope},
                   "characteristic function")


@problem
def custom_logistic() -> Problem:
    """E cos x = cos a · πs / sinh πs, s = eᵇ, for a logistic family by functions."""
    def log_prob(x, loc, scale):
        z = (x - loc) / scale
        return -z - 2.0 * scg.softplus(-z) - scg.log(scale)

    def path(noise, loc, scale):
        u = scg.extend.uniform(noise)
        return loc + scale * (scg.log(u) - scg.log1p(-u))

    a, b = 0.3, -0.4
    g = scg.Graph("custom_logistic")
    family = scg.Custom({"loc": g.param("a"), "scale": scg.exp(g.param("b"))}, log_prob=log_prob, path=path,
                        mean=lambda loc, scale: loc, constraints={"scale": scg.extend.positive})
    g.cost("loss", np.cos(g.sample("x", family)))
    s = np.pi * np.exp(b)
    return Problem(g, {"a": a, "b": b}, False, np.cos(a) * s / np.sinh(s),
                   {"a": -np.sin(a) * s / np.sinh(s),
                    "b": np.cos(a) * s * (1.0 / np.sinh(s) - s * np.cosh(s) / np.sinh(s) ** 2)},
                   "characteristic function")


# --- values that are vectors -----------------------------------------------------------------------------------------
@problem
def one_hot_pair() -> Problem:
    """Two one-hot vectors of one site, which weigh each other, and a site that depends on both."""
    g = scg.Graph("one_hot_pair")
    w = g.param("w", 3)
    x = g.sample("x", scg.OneHotCategorical(logits=w), shape=2)
    b = g.sample("b", scg.Bernoulli(logits=x[0] @ np.array([0.3, -1.0, 0.6]) - 0.5 * w[0]))
    g.cost("loss", (x @ np.array([0.2, 1.3, -0.7])).sum() ** 2 + 0.4 * (x[0] * x[1]).sum() - b * x[1, 2])
    return Problem(g, {"w": [0.3, -0.4, 0.8]}, True)


@problem
def multivariate_normal() -> Problem:
    """E cos tᵀx = e^(−|Lᵀt|²/2) cos tᵀμ, and E x₀x₁ = μ₀μ₁ + (LLᵀ)₀₁."""
    mu, (a, b, c), t = np.array([0.3, -0.6]), (0.8, 0.5, 0.4), np.array([0.7, 1.1])
    g = scg.Graph("multivariate_normal")
    m, s = g.param("m", 2), g.param("s", 3)
    x = g.sample("x", scg.MultivariateNormal(loc=m, scale_tril=scg.stack([scg.stack([s[0], 0.0]), s[1:]])))
    g.cost("loss", np.cos(x @ t) + x[0] * x[1])
    along = np.array([a * t[0] + b * t[1], c * t[1]])
    fall = np.exp(-0.5 * along @ along)
    by_s = -fall * np.cos(t @ mu) * np.array([along[0] * t[0], along[0] * t[1], along[1] * t[1]])
    return Problem(g, {"m": mu, "s": [a, b, c]}, False, fall * np.cos(t @ mu) + mu[0] * mu[1] + a * b,
                   {"m": -fall * np.sin(t @ mu) * t + mu[::-1], "s": by_s + np.array([b, a, 0.0])},
                   "characteristic function")


@problem
def dirichlet_shares() -> Problem:
    """E x₀x₁ = α₀α₁ / (n (n + 1)), E x₂ = α₂/n with n = Σ α."""
    a = np.array([6.8, 4.7, 5.5])
    n = a.sum()
    g = scg.Graph("dirichlet_shares")
    x = g.sample("x", scg.Dirichlet(concentration=g.param("a", 3)))
    g.cost("loss", 3.0 * x[0] * x[1] - x[2])
    product, shares = a[0] * a[1] / (n * (n + 1.0)), a[2] / n
    grad = np.array([a[1], a[0], 0.0]) / (n * (n + 1.0)) - product * (2.0 * n + 1.0) / (n * (n + 1.0))
    return Problem(g, {"a": a}, False, 3.0 * product - shares,
                   {"a": 3.0 * grad - (np.array([0.0, 0.0, 1.0]) - shares) / n}, "moments")


# --- discrete and continuous sites in one graph ----------------------------------------------------------------------
@problem
def normal_to_bernoulli() -> Problem:
    """A continuous site whose value is the logit of a discrete one."""
    g = scg.Graph("normal_to_bernoulli")
    mu, s = g.param("mu"), g.param("s")
    z = g.sample("z", scg.Normal(loc=mu, scale=np.exp(s)))
    b = g.sample("b", scg.Bernoulli(logits=z))
    g.cost("loss", (b - 0.3) ** 2 + 0.1 * z * z * b)
    return Problem(g, {"mu": 0.4, "s": -0.5}, False)


@problem
def bernoulli_to_normal() -> Problem:
    """A mixture of two normals."""
    theta, mu, sd = 0.3, 0.7, 0.8
    g = scg.Graph("bernoulli_to_normal")
    a, m = g.param("theta"), g.param("mu")
    b = g.sample("b", scg.Bernoulli(logits=a))
    x = g.sample("x", scg.Normal(loc=m * (2.0 * b - 1.0), scale=sd))
    g.cost("loss", np.cos(x) + x * b)
    p, c = special.expit(theta), np.exp(-sd * sd / 2)
    return Problem(g, {"theta": theta, "mu": mu}, False, c * np.cos(mu) + p * mu,
                   {"theta": p * (1 - p) * mu, "mu": -c * np.sin(mu) + p}, "E cos(N(m, s²)) = e^(−s²/2) cos m")


# --- normal costs of Mohamed et al. 2020 -----------------------------------------------------------------------------
def _normal_problem(name: str, f, cost: float, by_mean: float, by_scale: float) -> Problem:
    g = scg.Graph(name)
    x = g.sample("x", scg.Normal(loc=g.param("mu"), scale=g.param("sigma")))
    g.cost("loss", f(x))
    return Problem(g, {"mu": 1.0, "sigma": 1.0}, False, cost, {"mu": by_mean, "sigma": by_scale},
                   "Mohamed et al. 2020, N(1, 1)")


@problem
def normal_quadratic_below() -> Problem:
    """(x − k)², k = −3."""
    return _normal_problem("normal_quadratic_below", lambda x: (x + 3.0) ** 2, 17.0, 8.0, 2.0)


@problem
def normal_quadratic_above() -> Problem:
    """(x − k)², k = 3."""
    return _normal_problem("normal_quadratic_above", lambda x: (x - 3.0) ** 2, 5.0, -4.0, 2.0)


@problem
def normal_exponential() -> Problem:
    """exp(−kx²), k = 1."""
    c = 3.0
    return _normal_problem("normal_exponential", lambda x: np.exp(-x * x), np.exp(-1 / c) / np.sqrt(c),
                           -2 * np.exp(-1 / c) / c**1.5, 4 * np.exp(-1 / c) / c**1.5 * (1 / c - 0.5))


@problem
def normal_cosine() -> Problem:
    """cos kx, k = ½."""
    k = 0.5
    e = np.exp(-k * k / 2)
    return _normal_problem("normal_cosine", lambda x: np.cos(k * x), e * np.cos(k), -k * e * np.sin(k),
                           -k * k * e * np.cos(k))


# --- other families --------------------------------------------------------------------------------------------------
@problem
def exponential_square() -> Problem:
    """E x² = 2/λ²."""
    rate = 1.7
    g = scg.Graph("exponential_square")
    x = g.sample("x", scg.Exponential(rate=g.param("rate")))
    g.cost("loss", x * x)
    return Problem(g, {"rate": rate}, False, 2 / rate**2, {"rate": -4 / rate**3}, "moments")


@problem
def gamma_square() -> Problem:
    """E x² = α(α + 1)/β²; both parameters."""
    a, b = 2.3, 1.6
    g = scg.Graph("gamma_square")
    x = g.sample("x", scg.Gamma(concentration=g.param("a"), rate=g.param("b")))
    g.cost("loss", x * x)
    return Problem(g, {"a": a, "b": b}, False, a * (a + 1) / b**2,
                   {"a": (2 * a + 1) / b**2, "b": -2 * a * (a + 1) / b**3}, "moments")


@problem
def gamma_rate() -> Problem:
    """The rate alone: E sin x = Im (1 − i/β)^(−α)."""
    a, b = 0.8, 1.3
    g = scg.Graph("gamma_rate")
    x = g.sample("x", scg.Gamma(concentration=a, rate=g.param("b")))
    g.cost("loss", np.sin(x))
    z = 1 - 1j / b
    return Problem(g, {"b": b}, False, (z**-a).imag, {"b": (-a * z ** (-a - 1) * 1j / b**2).imag},
                   "characteristic function")


@problem
def beta_square() -> Problem:
    """E x² = α(α + 1) / (n (n + 1)) with n = α + β."""
    a, b = 3.7, 2.9
    n, top = a + b, a * (a + 1.0)
    bottom, slope = n * (n + 1.0), 2.0 * n + 1.0
    g = scg.Graph("beta_square")
    x = g.sample("x", scg.Beta(concentration1=g.param("a"), concentration0=g.param("b")))
    g.cost("loss", x * x)
    return Problem(g, {"a": a, "b": b}, False, top / bottom,
                   {"a": (2.0 * a + 1.0) / bottom - top * slope / bottom**2, "b": -top * slope / bottom**2}, "moments")


@problem
def student_square() -> Problem:
    """E x² = μ² + σ² ν/(ν − 2)."""
    df, loc, scale = 12.0, 0.4, 0.7
    g = scg.Graph("student_square")
    x = g.sample("x", scg.StudentT(df=g.param("df"), loc=g.param("loc"), scale=g.param("scale")))
    g.cost("loss", x * x)
    return Problem(g, {"df": df, "loc": loc, "scale": scale}, False, loc**2 + scale**2 * df / (df - 2.0),
                   {"df": -2.0 * scale**2 / (df - 2.0) ** 2, "loc": 2.0 * loc, "scale": 2.0 * scale * df / (df - 2.0)},
                   "moments")


@problem
def poisson_cosine() -> Problem:
    """E cos tx = Re exp(λ (e^(it) − 1))."""
    rate, t = 2.4, 0.6
    g = scg.Graph("poisson_cosine")
    x = g.sample("x", scg.Poisson(rate=g.param("rate")))
    g.cost("loss", np.cos(t * x))
    z = np.exp(1j * t) - 1
    return Problem(g, {"rate": rate}, False, np.exp(rate * z).real, {"rate": (z * np.exp(rate * z)).real},
                   "characteristic function")


@problem
def poisson_square() -> Problem:
    """E x² = λ² + λ at a rate where the sampler rejects."""
    rate = 14.5
    g = scg.Graph("poisson_square")
    x = g.sample("x", scg.Poisson(rate=g.param("rate")))
    g.cost("loss", x * x)
    return Problem(g, {"rate": rate}, False, rate**2 + rate, {"rate": 2 * rate + 1}, "moments")


@problem
def uniform_square() -> Problem:
    """E x² on (0, θ): the score function would return the wrong sign."""
    theta = 1.4
    g = scg.Graph("uniform_square")
    x = g.sample("x", scg.Uniform(low=0.0, high=g.param("theta")))
    g.cost("loss", x * x)
    return Problem(g, {"theta": theta}, False, theta**2 / 3, {"theta": 2 * theta / 3}, "moments")


@problem
def uniform_interval() -> Problem:
    """E eˣ on (l, h), both ends differentiated."""
    low, high = -0.5, 0.9
    g = scg.Graph("uniform_interval")
    x = g.sample("x", scg.Uniform(low=g.param("low"), high=g.param("high")))
    g.cost("loss", np.exp(x))
    w, mean = high - low, (np.exp(high) - np.exp(low)) / (high - low)
    return Problem(g, {"low": low, "high": high}, False, mean,
                   {"low": (mean - np.exp(low)) / w, "high": (np.exp(high) - mean) / w}, "integral of eˣ")


# --- continuous sites with rows and steps ----------------------------------------------------------------------------
@problem
def normal_rows() -> Problem:
    """A vector of normal draws for each row, with its divergence: the shape of a variational autoencoder."""
    rs = _numbers(9)
    values = {"w": np.array([0.3, -0.8]), "s": -0.3, "x": rs.normal(size=(3, 2)), "y": rs.normal(size=3)}
    g = scg.Graph("normal_rows")
    w, s, x, y = g.param("w", 2), g.param("s"), g.data("x", 2), g.data("y")
    q = scg.Normal(loc=x * w, scale=np.exp(s))
    z = g.sample("z", q)
    g.cost("fit", (z.sum() - y) ** 2)
    g.cost("kl", scg.kl_divergence(q, scg.Normal(loc=0.0, scale=1.0)))
    m, v = values["x"] * values["w"], np.exp(2 * values["s"])
    off = m.sum(axis=1) - values["y"]
    cost = np.mean(off**2 + 2 * v + 0.5 * (m**2).sum(axis=1)) + v - 1 - 2 * values["s"]
    by_w = np.mean((2 * off[:, None] + m) * values["x"], axis=0)
    return Problem(g, values, False, cost, {"w": by_w, "s": 4 * v + 2 * v - 2}, "normal moments")


@problem
def normal_shared() -> Problem:
    """Linear regression with random weights that all rows share."""
    rs = _numbers(10)
    values = {"m": np.array([0.3, -0.8]), "s": np.array([-0.3, 0.1]), "x": rs.normal(size=(3, 2)),
              "y": rs.normal(size=3)}
    g = scg.Graph("normal_shared")
    m, s, x, y = g.param("m", 2), g.param("s", 2), g.data("x", 2), g.data("y")
    w = g.sample("w", scg.Normal(loc=m, scale=np.exp(s)))
    g.cost("fit", (x @ w - y) ** 2)
    off, v = values["x"] @ values["m"] - values["y"], np.exp(2 * values["s"])
    return Problem(g, values, False, np.mean(off**2 + values["x"] ** 2 @ v),
                   {"m": np.mean(2 * off[:, None] * values["x"], axis=0),
                    "s": np.mean(2 * values["x"] ** 2 * v, axis=0)}, "normal moments")


@problem
def normal_shared_in_scan() -> Problem:
    """Powers of a random weight that all rows share, each compared with an element of the row."""
    g = scg.Graph("normal_shared_in_scan")
    m, x = g.param("m"), g.data("x", 3)
    w = g.sample("w", scg.Normal(loc=m, scale=1.0))

    def step(carry, element):
        g.cost("c", (carry - element) ** 2)
        return carry * w, None

    g.scan(step, 1.0, xs=x)
    a, rows = 0.3, np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]])
    cost = (1 - rows[:, 0]) ** 2 + (a**2 + 1 - 2 * a * rows[:, 1] + rows[:, 1] ** 2) + (
        a**4 + 6 * a**2 + 3 - 2 * rows[:, 2] * (a**2 + 1) + rows[:, 2] ** 2)
    grad = 2 * a - 2 * rows[:, 1] + 4 * a**3 + 12 * a - 4 * a * rows[:, 2]
    return Problem(g, {"m": a, "x": rows}, False, cost.mean(), {"m": grad.mean()}, "normal moments")


@problem
def normal_scan() -> Problem:
    """A first-order autoregression: E x² by the recursion of mean and variance."""
    a, c, s, steps = 0.7, 0.4, 0.5, 4
    g = scg.Graph("normal_scan")
    rho, shift = g.param("rho"), g.param("shift")

    def step(x, _):
        new = g.sample("x", scg.Normal(loc=rho * x + shift, scale=s))
        g.cost("each", new * new)
        return new, None

    g.scan(step, 0.3, length=steps)
    m, v, dm, dv = 0.3, 0.0, np.zeros(2), 0.0
    cost, grad = 0.0, np.zeros(2)
    for _ in range(steps):
        dm, dv = a * dm + np.array([m, 1.0]), a * a * dv + 2 * a * v
        m, v = a * m + c, a * a * v + s * s
        cost, grad = cost + m * m + v, grad + 2 * m * dm + np.array([dv, 0.0])
    return Problem(g, {"rho": a, "shift": c}, False, cost, {"rho": grad[0], "shift": grad[1]}, "recursion of moments")


@problem
def deterministic() -> Problem:
    """A graph without sites: the surrogate is the cost, and backpropagation its gradient."""
    values = {"w": np.array([0.3, -0.5]), "x": np.array([[1.0, 2.0], [0.5, -1.0]])}
    g = scg.Graph("deterministic")
    w, x = g.param("w", 2), g.data("x", 2)
    g.cost("loss", np.tanh(x @ w) ** 2)
    t = np.tanh(values["x"] @ values["w"])
    return Problem(g, values, True, np.mean(t**2),
                   {"w": np.mean((2 * t * (1 - t * t))[:, None] * values["x"], axis=0)}, "calculus")


# --- the five graphs of Schulman et al. 2015, Fig. 1 -----------------------------------------------------------------
_FIG_1 = "Schulman et al. 2015, Fig. 1, with normal moments"


@problem
def figure_1_graph_1() -> Problem:
    """θ → x deterministic → y stochastic → f."""
    theta = 0.6
    g = scg.Graph("figure_1_graph_1")
    x = g.node("x", g.param("theta") ** 2)
    y = g.sample("y", scg.Normal(loc=x, scale=1.0))
    g.cost("f", y**2)
    return Problem(g, {"theta": theta}, False, theta**4 + 1, {"theta": 4 * theta**3}, _FIG_1)


@problem
def figure_1_graph_2() -> Problem:
    """θ → x stochastic → y deterministic → f: y is never differentiated."""
    theta = 0.6
    g = scg.Graph("figure_1_graph_2")
    x = g.sample("x", scg.Normal(loc=g.param("theta"), scale=1.0))
    g.cost("f", g.node("y", x**2))
    return Problem(g, {"theta": theta}, False, theta**2 + 1, {"theta": 2 * theta}, _FIG_1)


@problem
def figure_1_graph_3() -> Problem:
    """θ → x stochastic → y stochastic → f: p(y | x) is never needed."""
    theta = 0.6
    g = scg.Graph("figure_1_graph_3")
    x = g.sample("x", scg.Normal(loc=g.param("theta"), scale=1.0))
    y = g.sample("y", scg.Normal(loc=x**2, scale=1.0))
    g.cost("f", y**2)
    return Problem(g, {"theta": theta}, False, theta**4 + 6 * theta**2 + 4,
                   {"theta": 4 * theta**3 + 12 * theta}, _FIG_1)


@problem
def figure_1_graph_4() -> Problem:
    """θ → x stochastic, θ → y deterministic, both → f: a direct path beside the score."""
    theta = 0.6
    g = scg.Graph("figure_1_graph_4")
    node = g.param("theta")
    x = g.sample("x", scg.Bernoulli(logits=node))
    y = g.node("y", node**2)
    g.cost("f", (x - y) ** 2)
    p, t = special.expit(theta), theta**2
    return Problem(g, {"theta": theta}, True, p * (1 - t) ** 2 + (1 - p) * t**2,
                   {"theta": p * (1 - p) * (1 - 2 * t) + 4 * theta * (t - p)}, _FIG_1)


@problem
def figure_1_graph_5() -> Problem:
    """A Markov process x₀ → x₁ → x₂ with rewards f₁ and f₂, θ in both transitions."""
    theta, x0 = 0.6, 1.3
    g = scg.Graph("figure_1_graph_5")
    node, x_0 = g.param("theta"), g.input("x_0")
    x_1 = g.sample("x_1", scg.Normal(loc=node * x_0, scale=1.0))
    x_2 = g.sample("x_2", scg.Normal(loc=node * x_1, scale=1.0))
    g.cost("f_1", x_1**2)
    g.cost("f_2", x_2**2)
    first = theta**2 * x0**2 + 1
    return Problem(g, {"theta": theta, "x_0": x0}, False, first + theta**2 * first + 1,
                   {"theta": 2 * theta * x0**2 + 4 * theta**3 * x0**2 + 2 * theta}, _FIG_1)
