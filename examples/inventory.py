"""An (s, S) inventory: how its costs change with the level that is ordered at, and that which is ordered up to.

Each period a demand leaves the stock, which may become negative: what is missing is delivered later. If less than s is
left, so much is ordered that the next period begins with S. Costs are those of holding, of missing, and of an order: a
fixed part and one for each piece. Whether is ordered is a jump, in the stock and in s, and the derivative of a path
does not see it: the compiler refuses `Pathwise`, and says at which line the jump is. What is left is a draw of its own
here, a demand that is taken from the level (`scg.Transformed`); the density of the demand moves with the level and with
s, and so

    by the score        the score of each stock weighs the costs that come after it
    by weak derivative  each stock is replaced by two others, and the periods after it are computed again

are right, in s and S too. Both are held against the exact derivative: the expected cost of the periods to come is a
function of the level, found backwards from the last period by integrals.

Run it with ``python examples/inventory.py [--periods 12] [--samples 20000] [--steps 300]``. It prints the derivatives,
and then lowers the cost by stochastic gradients. The picture shows the cost, with the way that s and S took, and the
derivative in s, with what a path would say if somebody vouched for it.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import special
from scipy.interpolate import BarycentricInterpolator

import scg

SHAPE, RATE = 3.0, 1.0  # of the demand, a gamma variable
HOLD, MISS, ORDER, PIECE = 1.0, 6.0, 4.0, 0.5  # costs: of a piece in stock and of one missing, a period; of an order
WAYS = {"score": scg.ScoreFunction(scg.LeaveOneOut()), "weak derivative": scg.WeakDerivative()}
START = {"s": 1.0, "S": 8.0}


def declare(periods: int, vouched: bool = False) -> scg.Graph:
    """The mean cost of so many periods, which begin with S; `vouched` says of the jump, wrongly, that it is none."""
    g = scg.Graph("inventory")
    s, S = g.param("s"), g.param("S")

    def step(level, _):
        above = g.sample("above", scg.Transformed(scg.Gamma(SHAPE, RATE), lambda demand: level - s - demand))
        left, low = above + s, scg.where(above < 0.0, 1.0, 0.0)
        low = scg.assume_continuous(low) if vouched else low
        g.cost("stock", HOLD * np.maximum(left, 0.0) + MISS * np.maximum(-left, 0.0), scale=1.0 / periods)
        g.cost("orders", low * (ORDER + PIECE * (S - left)), scale=1.0 / periods)
        return left + low * (S - left), None

    g.scan(step, S, length=periods)
    return g


def exact(s: float, S: float, periods: int, points: int = 24) -> float:
    """The mean cost, by integrals over levels from s to S."""
    z, w = np.polynomial.legendre.leggauss(points)
    levels = s + (S - s) * 0.5 * (z + 1.0)
    at = np.append(levels, S)

    def chance(shape, x):
        return special.gammainc(shape, RATE * np.maximum(x, 0.0))

    mean = SHAPE / RATE
    kept = at * chance(SHAPE, at) - mean * chance(SHAPE + 1.0, at)  # E max(level - D, 0)
    ordered = 1.0 - chance(SHAPE, at - s)
    pieces = (S - at) * ordered + mean * (1.0 - chance(SHAPE + 1.0, at - s))
    now = HOLD * kept + MISS * (kept - at + mean) + ORDER * ordered + PIECE * pieces
    x = s + (at - s)[:, None] * 0.5 * (z + 1.0)  # what is left, if nothing is ordered
    demand = at[:, None] - x
    density = RATE**SHAPE * demand ** (SHAPE - 1.0) * np.exp(-RATE * demand) / special.gamma(SHAPE)
    weights = 0.5 * (at - s)[:, None] * w * density
    later = np.einsum("ij,ijk->ik", weights, BarycentricInterpolator(levels, np.eye(points))(x))
    cost = np.zeros(len(at))
    for _ in range(periods):
        cost = now + ordered * cost[-1] + later @ cost[:-1]
    return float(cost[-1]) / periods


def slopes(s: float, S: float, periods: int, by: float = 1e-4) -> dict[str, float]:
    """Its derivatives, by central differences."""
    return {"s": (exact(s + by, S, periods) - exact(s - by, S, periods)) / (2.0 * by),
            "S": (exact(s, S + by, periods) - exact(s, S - by, periods)) / (2.0 * by)}


def estimates(ways: dict[str, scg.EstimatorFunction], given) -> dict[str, scg.Estimate]:
    """Derivatives at the start in both ways, printed beside the exact ones; and why not along the path."""
    found = {}
    for way, f in ways.items():
        found[way] = r = f(START, samples=given.samples, rng=given.seed)
        said = ", ".join(f"in {name} {r.grad[name]:+.4f} ± {r.stderr[name]:.4f}" for name in START)
        print(f"{way:16} cost {r.cost:.4f} ± {r.cost_stderr:.4f}, derivative {said}")
    known = slopes(**START, periods=given.periods)
    said = ", ".join(f"in {name} {slope:+.4f}" for name, slope in known.items())
    print(f"{'exact':16} cost {exact(**START, periods=given.periods):.4f}, derivative {said}")
    try:
        scg.compile(declare(given.periods), strategy=scg.Pathwise(), backend=given.backend)
    except scg.EstimatorError as why:
        print(why)
    return found


def picture(path: str, ways: dict[str, scg.EstimatorFunction], way: np.ndarray, given) -> None:
    """Draw the cost over s and S with the way to the least, and derivatives in s."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ss, Ss = np.linspace(-0.5, 6.0, given.grid), np.linspace(6.5, 13.0, given.grid)
    costs = [[exact(s, S, given.periods) for s in ss] for S in Ss]
    lines = left.contour(ss, Ss, costs, levels=16, cmap="viridis")
    left.clabel(lines, fontsize=7)
    left.plot(way[:, 0], way[:, 1], "k.-", markersize=2, linewidth=0.6)
    left.set(xlabel="s, the level that is ordered at", ylabel="S, the level that is ordered up to",
             title="mean cost of a period, and the way of the gradient")
    fine = np.linspace(ss[0], ss[-1], 4 * given.grid)
    right.plot(fine, [slopes(s, START["S"], given.periods)["s"] for s in fine], color="0.6", label="exact")
    wrong = scg.compile(declare(given.periods, vouched=True), strategy=scg.Pathwise(), backend=given.backend)
    for name, f in {**ways, "path, vouched for": wrong}.items():
        found = [f({"s": s, "S": START["S"]}, samples=given.samples, rng=given.seed) for s in ss]
        right.errorbar(ss, [float(r.grad["s"]) for r in found], [2.0 * float(r.stderr["s"]) for r in found], fmt=".",
                       label=name)
    right.set(xlabel="s", ylabel="derivative of the cost in s", title=f"S = {START['S']:g}; bars: two standard errors")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None) -> tuple[dict[str, scg.Estimate], scg.optim.Fit]:
    """Estimate, lower the cost, draw, and return the estimates and the fit."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("periods", 12), ("samples", 20_000), ("steps", 300), ("grid", 14), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.05)
    options.add_argument("--picture", default="inventory.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    ways = {way: scg.compile(declare(given.periods), strategy=strategy, backend=given.backend)
            for way, strategy in WAYS.items()}
    found, way = estimates(ways, given), [tuple(START.values())]
    run = scg.optim.fit(ways["weak derivative"], START, scg.optim.adam(given.rate), steps=given.steps,
                        samples=max(1, given.samples // 100), rng=given.seed,
                        watch=lambda step, values, r: way.append((values["s"], values["S"])))
    s, S = (float(run.values[name]) for name in START)
    print(f"after {given.steps} steps s = {s:.2f}, S = {S:.2f}, cost {exact(s, S, given.periods):.4f}")
    if given.picture:
        picture(given.picture, ways, np.array(way, dtype=float), given)
        print(f"see {given.picture}")
    return found, run


if __name__ == "__main__":
    main()
