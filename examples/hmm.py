"""A hidden Markov model, learned from exact likelihoods and from sampled states.

A state z_t, one of three, moves at random; at each step a number x_t is seen, normal about the mean of the state.
Learned are the first state's probabilities, those of the moves, the means, and the numbers' spread, in two ways that
minimise

    exact     -log p(x), the sum over all paths of states, by the forward recursion in a loop
    sampled   the negative evidence bound E_q[log q(z | x) - log p(x, z)], with states drawn one after the other from
              q(z_t | z_{t-1}, x_t, x_{t+1}), whose logits are learned too. A draw is weighed by the costs of its own
              step and of later ones, less the mean over the other samples

The bound lies above the exact value, by as much as q is away from the states' posterior. That posterior comes from the
exact graph: the probability that z_t is k, given all of x, is the derivative of log p(x) with respect to the
log-probability of x_t in state k (see `posterior`), so it is asked for with ``wrt=``.

Run it with ``python examples/hmm.py [--steps 400] [--rows 100] [--length 40] [--samples 8] [--picture hmm.png]``. The
picture shows both over the steps, and one sequence with the states that it came from and their posterior.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

import scg

STATES = 3


class Truth(NamedTuple):
    """What the data are drawn from."""

    start: np.ndarray
    moves: np.ndarray
    means: np.ndarray
    spread: float


TRUTH = Truth(np.array([0.6, 0.3, 0.1]), np.array([[0.90, 0.08, 0.02], [0.05, 0.90, 0.05], [0.10, 0.10, 0.80]]),
              np.array([-2.0, 0.0, 1.5]), 0.7)


def simulate(rows: int, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and states, (rows, length) each."""
    rng = np.random.default_rng(seed)
    z = np.empty((rows, length), dtype=int)
    for row in z:
        row[0] = rng.choice(STATES, p=TRUTH.start)
        for t in range(1, length):
            row[t] = rng.choice(STATES, p=TRUTH.moves[row[t - 1]])
    return TRUTH.means[z] + TRUTH.spread * rng.normal(size=z.shape), z


class Model:
    """The model's distributions at its params."""

    def __init__(self, g: scg.Graph):
        self.first = g.param("first", STATES, init=0.0)
        self.moves = g.param("moves", (STATES, STATES), init=2.0 * np.eye(STATES))
        self.means = g.param("means", STATES, init=[-1.0, 0.0, 1.0])
        self.spread = scg.softplus(g.param("spread", init=1.0))

    def seen(self, x) -> scg.Normal:
        """Of numbers (…, 1), in each state."""
        return scg.Normal(self.means, self.spread).log_prob(x)


def declare_exact(length: int) -> scg.Graph:
    """-log p(x) of a sequence."""
    g = scg.Graph("exact")
    model, x = Model(g), g.data("x", length)
    moves = scg.log_softmax(model.moves)
    seen = g.node("seen", model.seen(x.reshape(length, 1)))

    def step(log_alpha, log_seen):
        return scg.logsumexp(log_alpha[:, None] + moves, axis=0) + log_seen, None

    last, _ = g.scan(step, scg.log_softmax(model.first) + seen[0], xs=seen[1:])
    g.cost("-log p(x)", -scg.logsumexp(last))
    return g


def declare_sampled(length: int) -> scg.Graph:
    """The negative evidence bound of a sequence."""
    g = scg.Graph("sampled")
    model, x = Model(g), g.data("x", length)
    following = scg.concatenate([x[1:], x[-1:]])
    along = scg.stack([np.ones(length), x, following], axis=-1) @ g.param("along", (3, STATES), init=0.0)
    before = g.param("before", (STATES + 1, STATES), init=0.0)  # the last line stands for none

    def step(carry, here):
        last, moves, logits, log_seen = carry[0], carry[1], *here
        q = scg.Categorical(logits=logits + before[last])
        z = g.sample("z", q)
        g.cost("bound", q.log_prob(z) - scg.Categorical(logits=moves).log_prob(z) - log_seen[z])
        return (z, model.moves[z]), None

    g.scan(step, (float(STATES), model.first), xs=(along, model.seen(x.reshape(length, 1))))
    return g


def posterior(values: dict, x: np.ndarray) -> np.ndarray:
    """Probabilities of the states given all of each sequence, (rows, length, states)."""
    f = scg.compile(declare_exact(x.shape[1]), wrt="seen", backend="numpy")
    return -len(x) * f({name: values[name] for name in ("first", "moves", "means", "spread")} | {"x": x}).grad["seen"]


def picture(path: str, runs: dict[str, scg.optim.Fit], best: float, x: np.ndarray, z: np.ndarray) -> None:
    """Draw the costs, and a sequence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    for name, run in runs.items():
        left.plot(run.history["cost"], label={"exact": "exact: -log p(x)", "sampled": "sampled: negative bound"}[name])
    left.axhline(best, color="0.5", linestyle="--", label="-log p(x) at the truth")
    left.set(xlabel="step", ylabel="nats per sequence")
    left.legend()
    steps = np.arange(x.shape[1])
    found = posterior(runs["exact"].values, x[:1])[0]
    right.stackplot(steps, found.T, colors=["C0", "0.85", "C3"], alpha=0.5, step="mid",
                    labels=[f"P(state {k} | x)" for k in range(STATES)])
    for k, colour in enumerate(("C0", "0.4", "C3")):
        right.plot(steps[z[0] == k], np.full(np.sum(z[0] == k), 1.05), "s", color=colour)
    right.set(xlabel="step of the sequence; squares: the states that it came from", ylabel="posterior, stacked",
              ylim=(0.0, 1.1))
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=STATES, frameon=False)
    below = right.twinx()
    below.plot(steps, x[0], ".-", color="black", linewidth=0.6)
    low, high = x[0].min(), x[0].max()
    below.set(ylabel="x", ylim=(low - 0.05 * (high - low), low + 1.13 * (high - low)))  # the squares are above
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, scg.optim.Fit]:
    """Learn in both ways, print what was found, draw, and return the fits."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("steps", 400), ("rows", 100), ("length", 40), ("samples", 8), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.03)
    options.add_argument("--picture", default="hmm.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    x, z = simulate(given.rows, given.length, given.seed)
    graphs = {"exact": declare_exact(given.length), "sampled": declare_sampled(given.length)}
    fs = {name: scg.compile(g, backend=given.backend, stderr=False) for name, g in graphs.items()}
    runs = {name: scg.optim.fit(f, {"x": x}, scg.optim.adam(given.rate), steps=given.steps, rng=given.seed,
                                samples=given.samples if name == "sampled" else 1) for name, f in fs.items()}
    best = fs["exact"]({"first": np.log(TRUTH.start), "moves": np.log(TRUTH.moves), "means": TRUTH.means,
                        "spread": np.log(np.expm1(TRUTH.spread)), "x": x}).cost
    print(f"{'truth':8} -log p(x) {best:7.3f}, means {TRUTH.means}")
    for name, run in runs.items():
        model = {leaf: run.values[leaf] for leaf in graphs["exact"].params}
        cost = fs["exact"]({**model, "x": x}).cost
        print(f"{name:8} -log p(x) {cost:7.3f}, means {run.values['means'].round(2)}; "
              f"what was minimised came to {run.history['cost'][-1]:.3f}")
    if given.picture:
        picture(given.picture, runs, best, x, z)
        print(f"see {given.picture}")
    return runs


if __name__ == "__main__":
    main()
