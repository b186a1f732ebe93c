"""Gradients of a stationary mean by dimension: how long each estimator takes beside the chain alone, and how much it varies.

    python tests/benchmarks/chains.py [UNITS ...]

Little networks of so many units, P(yᵢ = 1) = sigmoid(W y + b)ᵢ with weights of standard deviation 1/√units, not
symmetric; the cost is (Σᵢ cᵢ yᵢ)², c of length 1, and what is differentiated are all weights and biases. Phantoms are
followed, and draws weighed, for 10 steps. Two numbers of each estimator: the processor time of a call, in that of a call
that runs the same chains and differentiates nothing; and the variance of a chain's gradient, summed over its elements,
times that time, in that of SPWD. The estimators by turns, the least time of several calls. Finite
differences move each weight in a world of its own, and are left out where these are more than 200.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

import scg

BURN_IN, HORIZON, AHEAD, CALLS = 20, 11 * 50, 10, 5
RULES = {"SPWD": scg.SPWD(truncation=AHEAD), "weak derivative per draw": scg.Phantoms(truncation=AHEAD),
         "likelihood ratio": scg.LikelihoodRatio(window=AHEAD), "SPSA, step 0.1": scg.SPSA(step=0.1),
         "finite differences, step 0.1": scg.FiniteDifferences(step=0.1)}


def little(units: int) -> scg.Graph:
    """The network."""
    g = scg.Graph("little")
    w, b = g.param("W", (units, units)), g.param("b", units)
    c = np.random.default_rng(1).normal(size=units)

    def step(y):
        new = g.sample("y", scg.Bernoulli(logits=w @ y + b))
        g.cost("e", (new @ (c / np.linalg.norm(c))) ** 2)
        return new

    g.chain(step, init=np.zeros(units), burn_in=BURN_IN, horizon=HORIZON)
    return g


def contenders(units: int) -> dict[str, scg.EstimatorFunction]:
    """Compiled functions; that of "chain" differentiates nothing."""
    found = {"chain": scg.compile(little(units), wrt=(), stderr=False)}
    for name, rule in RULES.items():
        if not isinstance(rule, scg.FiniteDifferences) or units * (units + 1) <= 200:
            found[name] = scg.compile(little(units), strategy=rule)
    return found


def measured(units: int) -> dict[str, tuple[float, float]]:
    """Of each: its time in that of the chain alone, and variance × time in that of SPWD."""
    rng = np.random.default_rng(0)
    values = {"W": rng.normal(size=(units, units)) / np.sqrt(units), "b": rng.normal(size=units) - 0.5}
    functions = contenders(units)
    chains = {name: _chains(f, values) for name, f in functions.items()}
    spent, variance = dict.fromkeys(functions, np.inf), dict.fromkeys(functions, 0.0)
    for call in range(CALLS):
        for name, f in functions.items():
            began = time.process_time()
            r = f(values, samples=chains[name], rng=call)
            spent[name] = min(spent[name], (time.process_time() - began) / chains[name])
            if name != "chain":
                variance[name] += chains[name] * sum(float((e**2).sum()) for e in r.stderr.values()) / CALLS
    unit = spent["SPWD"] * variance["SPWD"]
    return {name: (spent[name] / spent["chain"], spent[name] * variance[name] / unit) for name in functions}


def _chains(f: Callable, values: dict[str, np.ndarray]) -> int:
    """How many chains a call of about half a second takes, from 8 on."""
    f(values, samples=8, rng=0)
    began = time.process_time()
    f(values, samples=8, rng=0)
    return int(np.clip(8.0 * 0.5 / (time.process_time() - began), 8, 4096)) // 8 * 8


def table(sizes: list[int]) -> str:
    """Rows by estimator, columns by number of units."""
    found = {units: measured(units) for units in sizes}
    lines = ["| time; variance × time | " + " | ".join(f"{units} units" for units in sizes) + " |",
             "|---" * (len(sizes) + 1) + "|"]
    for name in ("chain", *RULES):
        cells = [f"{found[u][name][0]:.3g}; {found[u][name][1]:.2g}" if name in found[u] else "—" for u in sizes]
        lines.append(f"| {name} | " + " | ".join(cells if name != "chain" else ["1"] * len(sizes)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([int(word) for word in sys.argv[1:]] or [3, 10, 30, 100]))
