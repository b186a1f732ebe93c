"""Waiting times: how the mean wait at a counter changes with the speed of service, estimated in three ways.

Customers arrive at random, at rate `arrivals`, and each is served for an exponential time of rate `mu`, at one counter
or at several in a row. One is served as soon as he is there and the one before him has left: a loop in the graph. The
derivative of the mean wait of the first n customers in mu is estimated

    along the path      infinitesimal perturbation analysis: a wait is a continuous function of the times of service, so
                        its own derivative is right on average
    by the score        the score of each time of service weighs the waits that come after it
    by weak derivative  each time of service is replaced by two others, and the waits after it are computed again

and held against the exact value: by Spitzer's identity (1956) the mean wait of one who is n-th after the first is the
sum over k <= n of E[max(S_k, 0)] / k, where S_k is k times of service less k gaps between arrivals. It is known for one
counter.

Run it with ``python examples/waiting_times.py [--customers 20] [--counters 1] [--samples 20000]``. The picture shows
the standard deviation of one replicate of each against the number of customers: all grow while the queue does, and that
of the score, which weighs every wait by all times of service before it, is some four times those of the others.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import special

import scg

WAYS = {"path": scg.Pathwise(), "score": scg.ScoreFunction(), "weak derivative": scg.WeakDerivative()}


def declare(customers: int, counters: int = 1) -> scg.Graph:
    """The mean wait of so many customers, at all counters together; the first finds them empty."""
    g = scg.Graph("queue")
    arrivals, mu = g.input("arrivals"), g.param("mu")

    def step(carry, _):
        arrived, left = carry[0], []
        time, wait = arrived, 0.0
        for i, free in enumerate(carry[1:]):
            begins = scg.maximum(time, free)
            wait = wait + begins - time
            time = begins + g.sample(f"service_{i}", scg.Exponential(mu))
            left.append(time)
        g.cost("wait", wait, scale=1.0 / customers)
        return (arrived + g.sample("gap", scg.Exponential(arrivals)), *left), None

    g.scan(step, (0.0,) * (counters + 1), length=customers)
    return g


def exact(arrivals: float, mu: float, customers: int) -> float:
    """The mean wait of the first so many at one counter."""
    k = np.arange(1.0, customers)
    p = arrivals / (arrivals + mu)  # k gaps are shorter than k services where a beta variable is below this
    positive = k / mu * special.betainc(k, k + 1.0, p) - k / arrivals * special.betainc(k + 1.0, k, p)
    return float(np.cumsum(positive / k).sum()) / customers


def slope(arrivals: float, mu: float, customers: int, by: float = 1e-5) -> float:
    """Its derivative in mu, by central differences."""
    return (exact(arrivals, mu + by, customers) - exact(arrivals, mu - by, customers)) / (2.0 * by)


def spreads(values: dict, sizes: list[int], counters: int, samples: int, backend: str, seed: int) -> dict:
    """The standard deviation of one replicate of each estimator, for each number of customers."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for n in sizes:
        for way, strategy in WAYS.items():
            r = scg.compile(declare(n, counters), strategy=strategy, backend=backend)(values, samples=samples, rng=seed)
            found[way].append(float(r.stderr["mu"]) * samples**0.5)
    return found


def picture(path: str, sizes: list[int], found: dict) -> None:
    """Draw the standard deviations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.0), layout="constrained")
    axes = figure.subplots()
    for way, deviations in found.items():
        axes.loglog(sizes, deviations, "o-", label=way)
    axes.set(xlabel="customers", ylabel="standard deviation of a replicate's derivative", xticks=sizes,
             xticklabels=sizes)
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, scg.Estimate]:
    """Estimate in all ways, print them beside the exact value, draw, and return the estimates."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("customers", 20), ("counters", 1), ("samples", 20_000), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    for name, rate in (("arrivals", 1.0), ("mu", 1.2)):
        options.add_argument(f"--{name}", type=float, default=rate)
    options.add_argument("--sizes", type=int, nargs="*", default=[5, 10, 20, 40])
    options.add_argument("--picture", default="waiting_times.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    values = {"arrivals": given.arrivals, "mu": given.mu}
    found = {}
    for way, strategy in WAYS.items():
        f = scg.compile(declare(given.customers, given.counters), strategy=strategy, backend=given.backend)
        found[way] = r = f(values, samples=given.samples, rng=given.seed)
        print(f"{way:16} mean wait {r.cost:.4f} ± {r.cost_stderr:.4f}, derivative in mu {r.grad['mu']:+.4f} ± "
              f"{r.stderr['mu']:.4f}")
    if given.counters == 1:
        print(f"{'exact':16} mean wait {exact(given.arrivals, given.mu, given.customers):.4f}, derivative in mu "
              f"{slope(given.arrivals, given.mu, given.customers):+.4f}")
    if given.picture:
        picture(given.picture, given.sizes, spreads(values, given.sizes, given.counters, given.samples, given.backend,
                                                    given.seed))
        print(f"see {given.picture}")
    return found


if __name__ == "__main__":
    main()
