"""A barrier option: how its value changes with the price of the stock and with its volatility.

A call that pays what the price of a stock is above the strike on the last day, if on no day's close the price was at
the barrier or below. From day to day the logarithm of the price moves by a normal variable, so a price is an
exponential of one: a site, as a mapped draw (`scg.Transformed`). A loop goes over the days and ends where the option is
knocked out. The derivatives of the value in the first price (delta) and in the volatility (vega) are estimated

    by the score        each price's score weighs the payoff
    by weak derivative  each price is replaced by two others, and the days after it are drawn again

and held against quadrature: the value of a day is an integral over the prices of the next, backwards from the last.
Along the path neither is right: whether the option is knocked out jumps, and the compiler says where.

Run it with ``python examples/barrier_option.py [--days 12] [--samples 40000]``. The picture shows both derivatives
against the first price, and what a path would say if somebody vouched for it: it misses the paths that are lost at the
barrier. Its delta is too small, all the more the nearer the barrier is, and its vega too large.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy import special
from tqdm.auto import tqdm

import scg

STRIKE, BARRIER, RATE, YEARS = 100.0, 90.0, 0.03, 0.5
AT = {"price": 100.0, "volatility": 0.3}
WAYS = {"score": scg.ScoreFunction(scg.LeaveOneOut()), "weak derivative": scg.WeakDerivative()}


def declare(days: int, vouched: bool = False) -> scg.Graph:
    """The value of the option; `vouched` says of the jump at the barrier, wrongly, that it is none."""
    g = scg.Graph("option")
    first, volatility = g.param("price"), g.param("volatility")
    spread = volatility * math.sqrt(YEARS / days)
    drift = RATE * YEARS / days - 0.5 * spread**2

    def day(carry, _):
        price, alive = carry
        price = g.sample("close", scg.Transformed(scg.Normal(np.log(price) + drift, spread), np.exp))
        above = scg.where(price > BARRIER, 1.0, 0.0)
        return (price, alive * (scg.assume_continuous(above) if vouched else above)), None

    ended = None if vouched else (lambda carry: carry[1] == 0.0)
    (last, alive), _ = g.scan(day, (first, 1.0), length=days, until=ended)
    g.cost("payoff", math.exp(-RATE * YEARS) * alive * np.maximum(last - STRIKE, 0.0))
    return g


def exact(price: float, volatility: float, days: int, points: int = 120) -> float:
    """The value, by Gauss–Legendre quadrature over the logarithms of prices above the barrier."""
    spread = volatility * math.sqrt(YEARS / days)
    drift = RATE * YEARS / days - 0.5 * spread**2
    low, high = math.log(BARRIER), math.log(price) + RATE * YEARS + 8.0 * volatility * math.sqrt(YEARS)
    z, w = np.polynomial.legendre.leggauss(points)
    x, w = low + 0.5 * (high - low) * (z + 1.0), 0.5 * (high - low) * w
    at = np.append(x, math.log(price))
    up = (at + drift - math.log(STRIKE)) / spread  # the day before the last, as Black and Scholes have it
    value = np.exp(at + drift + 0.5 * spread**2) * special.ndtr(up + spread) - STRIKE * special.ndtr(up)
    moves = np.exp(-0.5 * ((x - at[:, None] - drift) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
    for _ in range(days - 1):
        value = (moves * w) @ value[:-1]
    return math.exp(-RATE * YEARS) * float(value[-1])


def slopes(price: float, volatility: float, days: int, by: float = 1e-4) -> dict[str, float]:
    """Its derivatives, by central differences."""
    up, down = exact(price * (1.0 + by), volatility, days), exact(price * (1.0 - by), volatility, days)
    wide, narrow = exact(price, volatility + by, days), exact(price, volatility - by, days)
    return {"price": (up - down) / (2.0 * by * price), "volatility": (wide - narrow) / (2.0 * by)}


def estimates(ways: dict[str, scg.EstimatorFunction], given) -> dict[str, scg.Estimate]:
    """Derivatives in both ways, printed beside the exact ones; and why not along the path."""
    found = {}
    for way, f in ways.items():
        found[way] = r = f(AT, samples=given.samples, rng=given.seed)
        print(f"{way:16} value {r.cost:.4f} ± {r.cost_stderr:.4f}, delta {r.grad['price']:.4f} ± "
              f"{r.stderr['price']:.4f}, vega {r.grad['volatility']:.3f} ± {r.stderr['volatility']:.3f}")
    known = slopes(**AT, days=given.days)
    print(f"{'quadrature':16} value {exact(**AT, days=given.days):.4f}, delta {known['price']:.4f}, "
          f"vega {known['volatility']:.3f}")
    try:
        scg.compile(declare(given.days), strategy=scg.Pathwise(), backend=given.backend)
    except scg.EstimatorError as why:
        print(why)
    return found


def picture(path: str, ways: dict[str, scg.EstimatorFunction], given) -> None:
    """Draw delta and vega against the first price."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    prices = np.linspace(BARRIER + 1.0, 125.0, given.prices)
    fine = np.linspace(BARRIER + 0.5, 126.0, 4 * given.prices)
    known = [slopes(price, AT["volatility"], given.days) for price in fine]
    wrong = scg.compile(declare(given.days, vouched=True), strategy=scg.Pathwise(), backend=given.backend)
    every = {**ways, "path, vouched for": wrong}
    panels = dict(zip(AT, figure.subplots(1, 2)))
    for name, axes in panels.items():
        axes.plot(fine, [slope[name] for slope in known], color="0.6", label="quadrature")
    with tqdm(total=len(every) * len(prices), desc="prices", disable=None) as bar:
        for way, f in every.items():
            found = []
            for price in prices:
                found.append(f({**AT, "price": price}, samples=given.samples, rng=given.seed))
                bar.update()
            for name, axes in panels.items():
                axes.errorbar(prices, [float(r.grad[name]) for r in found],
                              [2.0 * float(r.stderr[name]) for r in found], fmt=".", label=way)
    for (name, axes), title in zip(panels.items(), ("delta", "vega")):
        axes.axvline(BARRIER, color="0.8", linestyle="--")
        axes.set(xlabel="first price; dashed: the barrier", ylabel=f"derivative of the value in the {name}",
                 title=f"{title}; bars: two standard errors")
    panels["price"].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, scg.Estimate]:
    """Estimate, print, draw, and return the estimates."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("days", 12), ("samples", 40_000), ("prices", 12), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--picture", default="barrier_option.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    ways = {way: scg.compile(declare(given.days), strategy=strategy, backend=given.backend)
            for way, strategy in WAYS.items()}
    found = estimates(ways, given)
    if given.picture:
        picture(given.picture, ways, given)
        print(f"see {given.picture}")
    return found


if __name__ == "__main__":
    main()
