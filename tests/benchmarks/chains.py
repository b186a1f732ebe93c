"""Gradients of a stationary mean by dimension: time beside the chain alone, and variance times time.

    python tests/benchmarks/chains.py [UNITS ...]

Little networks of so many units, P(yᵢ = 1) = sigmoid(W y + b)ᵢ with weights of standard deviation 1/√units, not
symmetric; the cost is (Σᵢ cᵢ yᵢ)², c of length 1, and what is differentiated are all weights and biases. Phantoms are
followed, and draws weighed, for 10 steps. Two numbers of each estimator: the processor time of a call that asks for no
standard errors, in that of a call that runs as many chains and differentiates nothing; and the variance of a chain's
gradient, summed over its elements, times that time, in that of SPWD. The estimators by turns, the least of several
calls. Finite differences, which move each weight in a
world of its own, are left out where these are more than 200.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import scg

BURN_IN, HORIZON, AHEAD, CHAINS, CALLS = 20, 11 * 20, 10, 128, 5
RULES = {"SPWD": scg.SPWD(truncation=AHEAD), "weak derivative per draw": scg.Phantoms(truncation=AHEAD),
         "likelihood ratio": scg.LikelihoodRatio(window=AHEAD), "SPSA, step 0.1": scg.SPSA(step=0.1),
         "finite differences, step 0.1": scg.FiniteDifferences(step=0.1)}

SLOW = ("weak derivative per draw", "finite differences, step 0.1")  # which are called twice where units are many


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


def rules(units: int) -> dict[str, scg.Estimator]:
    """Those that are tried with so many units."""
    few = units * (units + 1) <= 200
    return {name: rule for name, rule in RULES.items() if few or not isinstance(rule, scg.FiniteDifferences)}


def measured(units: int) -> dict[str, tuple[float, float]]:
    """Of each: its time in that of the chain alone, and variance × time in that of SPWD."""
    rng = np.random.default_rng(0)
    values = {"W": rng.normal(size=(units, units)) / np.sqrt(units), "b": rng.normal(size=units) - 0.5}
    chosen = rules(units)
    calls = {name: scg.compile(little(units), strategy=rule, stderr=False) for name, rule in chosen.items()}
    calls = {"chain": scg.compile(little(units), wrt=(), stderr=False), **calls}
    spent = dict.fromkeys(calls, np.inf)
    for call in range(CALLS):
        for name, f in calls.items():
            if call < 2 or name not in SLOW or units < 30:
                began = time.process_time()
                f(values, samples=CHAINS, rng=call)
                spent[name] = min(spent[name], (time.process_time() - began) / CHAINS)
    variance = {name: _variance(scg.compile(little(units), strategy=rule), values) for name, rule in chosen.items()}
    unit = spent["SPWD"] * variance["SPWD"]
    return {name: (spent[name] / spent["chain"], spent[name] * variance.get(name, 0.0) / unit) for name in calls}


def _variance(f: scg.EstimatorFunction, values: dict[str, np.ndarray]) -> float:
    r = f(values, samples=CHAINS, rng=CALLS)
    return CHAINS * sum(float((e**2).sum()) for e in r.stderr.values())


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
