"""An epidemic: how the number of people who fall ill changes with the rate of infection.

A chain-binomial model (Reed and Frost): each day, each person who can still fall ill does so with probability
1 - exp(-beta i / n), where i of the n people are ill, and each who is ill recovers with a fixed probability. Whoever
has recovered stays well. Falling ill is a jump, so there is no path to differentiate. The derivative in beta of the
number who fall ill within so many days is estimated

    by the score        each day's chances weigh those who fall ill later
    by weak derivative  for each person and day, all later days are computed again with that person ill, and well
    by triples          one person, chosen in proportion to the derivative of the chances, falls ill in addition

and held against the exact one: of a population it matters only how many can fall ill and how many are ill, and the
probabilities of these pairs of numbers are known from day to day.

Run it with ``python examples/epidemic.py [--people 20] [--days 12] [--samples 4000]``. The picture shows the number who
fall ill against beta, with its derivative, and what one replicate of each estimator is off by.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats
from tqdm.auto import tqdm

import scg

RECOVERY = 0.4  # within a day
WAYS = {"score": scg.ScoreFunction(scg.LeaveOneOut()), "weak derivative": scg.WeakDerivative(),
        "triples": scg.StochasticTriple()}


def declare(people: int, days: int) -> scg.Graph:
    """The expected number of people who fall ill, of whom one is ill at the beginning."""
    g = scg.Graph("epidemic")
    beta = g.param("beta")

    def day(carry, _):
        ready, ill = carry
        caught = 1.0 - np.exp(-beta * ill.sum() / people)
        falls = g.sample("falls", scg.Bernoulli(probs=caught * ready))
        well = g.sample("well", scg.Bernoulli(probs=RECOVERY * ill))
        g.cost("cases", falls)
        return (ready - falls, ill + falls - well), None

    first = np.eye(people)[0]
    g.scan(day, (1.0 - first, first), length=days)
    return g


def exact(beta: float, people: int, days: int) -> float:
    """The expected number, from the probabilities of (how many can fall ill, how many are ill)."""
    chance = np.zeros((people + 1, people + 1))
    chance[people - 1, 1] = 1.0
    cases = 0.0
    for _ in range(days):
        after = np.zeros_like(chance)
        for ready, ill in zip(*np.nonzero(chance)):
            falls = stats.binom.pmf(np.arange(ready + 1), ready, 1.0 - np.exp(-beta * ill / people))
            stay = stats.binom.pmf(np.arange(ill + 1), ill, 1.0 - RECOVERY)
            cases += chance[ready, ill] * float(np.arange(ready + 1) @ falls)
            for k, p in enumerate(falls):
                after[ready - k, k : k + ill + 1] += chance[ready, ill] * p * stay
        chance = after
    return cases


def slope(beta: float, people: int, days: int, by: float = 1e-4) -> float:
    """Its derivative, by central differences."""
    return (exact(beta + by, people, days) - exact(beta - by, people, days)) / (2.0 * by)


def estimates(betas: np.ndarray, given) -> dict[str, list[scg.Estimate]]:
    """Of each rate, in all ways."""
    found: dict[str, list[scg.Estimate]] = {}
    with tqdm(total=len(WAYS) * len(betas), desc="rates", disable=None) as bar:
        for way, strategy in WAYS.items():
            f = scg.compile(declare(given.people, given.days), strategy=strategy, backend=given.backend)
            found[way] = []
            for beta in betas:
                found[way].append(f({"beta": beta}, samples=given.samples, rng=given.seed))
                bar.update()
    return found


def picture(path: str, betas: np.ndarray, known: list[float], found: dict[str, list[scg.Estimate]], given) -> None:
    """Draw the number, its derivative, and deviations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(betas, [exact(beta, given.people, given.days) for beta in betas], color="0.6", label="exact")
    middle.plot(betas, known, color="0.6", label="exact")
    for shift, (way, each) in zip((-0.01, 0.0, 0.01), found.items()):
        left.errorbar(betas + shift, [r.cost for r in each], [2.0 * r.cost_stderr for r in each], fmt=".", label=way)
        middle.errorbar(betas + shift, [float(r.grad["beta"]) for r in each],
                        [2.0 * float(r.stderr["beta"]) for r in each], fmt=".", label=way)
        right.semilogy(betas, [float(r.stderr["beta"]) * given.samples**0.5 for r in each], ".-", label=way)
    left.set(ylabel=f"people who fall ill, of {given.people}, in {given.days} days")
    middle.set(ylabel="its derivative in the rate; bars: two standard errors")
    right.set(ylabel="standard deviation of one replicate")
    for axes in (left, middle, right):
        axes.set(xlabel="rate of infection")
    left.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, list[scg.Estimate]]:
    """Estimate at several rates, print a table, draw, and return the estimates."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("people", 20), ("days", 12), ("samples", 4000), ("rates", 8), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--picture", default="epidemic.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    betas = np.linspace(0.2, 1.6, given.rates)
    found = estimates(betas, given)
    known = [slope(beta, given.people, given.days) for beta in betas]
    print(f"{'rate':>6} {'exact':>9}" + "".join(f"{way:>22}" for way in WAYS))
    for i, beta in enumerate(betas):
        each = (found[way][i] for way in WAYS)
        print(f"{beta:6.2f} {known[i]:9.4f}"
              + "".join(f"{r.grad['beta']:13.4f} ± {r.stderr['beta']:.4f}" for r in each))
    if given.picture:
        picture(given.picture, betas, known, found, given)
        print(f"see {given.picture}")
    return found


if __name__ == "__main__":
    main()
