"""How accurate gradients of a net of binary layers are: the experiment of Shekhovtsov, Yanush & Flach (2020).

Points x in the plane have labels y of 1 and −1. Three layers of five binary units are drawn one given the other,
P(h = 1) = σ(W h_below + b), and the cost of a point is log(1 + exp(−η y)), η = W h_3 + b, averaged over 200 points. Of
each estimator the gradient is asked for with one draw per point, again and again, and compared with the exact one:

    relative RMSE = sqrt(mean ‖g_M − g‖²) / ‖g‖

for the weights and biases of each layer, where g_M is the mean of M gradients. What is unbiased falls as 1/√M, and what
is biased stops falling.

The exact gradient is that of a sum over the 32 states of each layer, a product of three matrices, which is a graph
without draws.

Run it with ``python examples/psa_accuracy.py [net.json] [--draws 20000] [--ways PSA,ST] [--compare]
[--picture psa_accuracy.png]``. A file has the keys X (points, 2), Y (points,) and layers, a list of {"W": (outputs,
inputs), "b": (outputs,)} from the points on. Without one, a net is trained on points drawn as in the paper: 100 in a
box, 100 below a cosine. ``--compare`` shows the figures of the paper, too, which are those of the net in the authors'
repository (github.com/shekhovt/PSA-Neurips2020), after 100 epochs. ARM's two replays draw later layers there under
noise of their own; under common noise it varies less.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

import scg

SIZES = (2, 5, 5, 5, 1)
MEANS = (1, 10, 100, 1000)  # gradients in a mean
WAYS: dict[str, scg.Estimator] = {
    "REINFORCE": scg.ScoreFunction(), "Concrete 0.1": scg.GumbelSoftmax(temperature=0.1),
    "Concrete 1": scg.GumbelSoftmax(temperature=1.0), "mean field": scg.MeanPropagation(),
    "ST": scg.StraightThrough(), "PSA": scg.PSA(averaged=True), "ARM": scg.ARM(noise="fresh"),
    "ARM common": scg.ARM(), "DisARM": scg.DisARM(),
    "MuProp": scg.MuProp(), "LOO of 2": scg.ScoreFunction(scg.LeaveOneOut())}  # fmt: skip
PUBLISHED = {  # their figure of relative RMSE, by layer from the points on: of one gradient, and of the mean of ten
    "REINFORCE": ((13.81, 4.381), (11.24, 3.564), (6.779, 2.158), (0.4495, 0.1422)),
    "Concrete 0.1": ((7.743, 2.426), (5.432, 1.728), (2.055, 0.6619), (0.4252, 0.1381)),
    "Concrete 1": ((0.3955, 0.3113), (0.5433, 0.3589), (0.5492, 0.295), (0.3213, 0.1558)),
    "mean field": ((0.2478, 0.2478), (0.4153, 0.4153), (0.4849, 0.4849), (0.3306, 0.3306)),
    "ST": ((0.222, 0.1026), (0.5633, 0.3633), (0.568, 0.3824), (0.4492, 0.1421)),
    "PSA": ((0.1577, 0.0676), (0.3809, 0.1246), (0.4362, 0.1387), (0.3797, 0.120)),
    "ARM": ((2.317, 0.7312), (2.535, 0.8022), (1.806, 0.570), (0.4513, 0.1446)),
}  # fmt: skip


def declare(sizes: tuple[int, ...] = SIZES) -> scg.Graph:
    """The net of points, and its cost."""
    g = scg.Graph("binary layers")
    h, y = g.data("x", sizes[0]), g.data("y")
    for k, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        a = g.param(f"W{k}", (outputs, inputs), init=0.5) @ h + g.param(f"b{k}", outputs, init=0.0)
        h = a if k == len(sizes) - 2 else g.sample(f"h{k + 1}", scg.Bernoulli(logits=a))
    g.cost("loss", scg.softplus(-y * h[0]))
    return g


def declare_exact(sizes: tuple[int, ...] = SIZES) -> scg.Graph:
    """Its expectation: probabilities of the states of a layer, given each state of the one below."""
    g = scg.Graph("all states")
    below, y, chances = g.data("x", sizes[0]), g.data("y"), None
    for k, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        a = below @ g.param(f"W{k}", (outputs, inputs)).T + g.param(f"b{k}", outputs)
        if k < len(sizes) - 2:
            states = np.array(list(itertools.product((0.0, 1.0), repeat=outputs)))
            given = np.exp(a @ states.T - scg.softplus(a).sum(axis=-1)[..., None])  # (states below, states)
            chances, below = given if chances is None else chances @ given, states
    g.cost("loss", chances @ scg.softplus(-y * a[:, 0]))
    return g


def points(rng: np.random.Generator, each: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Points (2 · each, 2) and their labels: 1 in a box of width π and height 1, −1 below the cosine in it."""
    found = np.empty((0, 2))
    while len(found) < 2 * each:
        drawn = rng.uniform([-np.pi / 2, 0.0], [np.pi / 2, 1.0], size=(each, 2))
        found = np.concatenate([found, drawn if not len(found) else drawn[drawn[:, 1] < np.cos(drawn[:, 0])]])
    return found[: 2 * each], np.repeat([1.0, -1.0], each)


def load(path: str) -> dict[str, np.ndarray]:
    """Points, labels and params from a file."""
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    values = {"x": np.array(found["X"], dtype=float), "y": np.ravel(found["Y"]).astype(float)}
    for k, layer in enumerate(found["layers"]):
        values |= {f"W{k}": np.array(layer["W"], dtype=float), f"b{k}": np.array(layer["b"], dtype=float)}
    return values


def train(steps: int, seed: int, backend: str) -> dict[str, np.ndarray]:
    """Points, labels and the params of a net that was trained on them, with the score function."""
    rng = np.random.default_rng(seed)
    x, y = points(rng)
    start = {f"W{k}": scg.nn.glorot(rng, shape) for k, shape in enumerate(zip(SIZES[1:], SIZES))}
    f = scg.compile(declare(), strategy=scg.ScoreFunction(scg.LeaveOneOut()), backend=backend, stderr=False)
    run = scg.optim.fit(f, {"x": x, "y": y, **start}, scg.optim.adam(0.03), steps=steps, samples=16, rng=seed)
    return {"x": x, "y": y, **run.values}


def layers_of(grad, count: int) -> list[np.ndarray]:
    """The gradient of each layer as one vector."""
    return [np.concatenate([np.ravel(grad[f"{p}{k}"]) for p in "Wb"]) for k in range(count)]


def errors(f: scg.EstimatorFunction, values: dict, exact: list[np.ndarray], draws: int, samples: int) -> np.ndarray:
    """Relative RMSE (layers, len(MEANS)); NaN of means of more gradients than there are."""
    found: list[list[np.ndarray]] = [[] for _ in exact]
    for seed in range(draws):
        for mine, grad in zip(found, layers_of(f(values, samples=samples, rng=seed).grad, len(exact))):
            mine.append(grad)
    return np.array([[_relative(np.array(mine), g, m) for m in MEANS] for mine, g in zip(found, exact)])


def _relative(found: np.ndarray, exact: np.ndarray, m: int) -> float:
    count = len(found) // m
    if not count:
        return np.nan
    means = found[: count * m].reshape(count, m, -1).mean(axis=1)
    return float(np.sqrt(np.mean(np.sum((means - exact) ** 2, axis=1)) / np.sum(exact**2)))


def show(way: str, found: np.ndarray, compare: bool) -> None:
    """Print a method's lines of the table."""
    for k, row in enumerate(found):
        numbers = " ".join(f"{x:9.4f}" for x in row)
        beside = ""
        if compare and way in PUBLISHED:
            beside = "   paper " + " ".join(f"{p:7.4f} ({x / p - 1:+.1%})" for x, p in zip(row, PUBLISHED[way][k]))
        print(f"{way if k == 0 else '':14} layer {k} {numbers}{beside}", flush=True)


def picture(path: str, table: dict[str, np.ndarray]) -> None:
    """Draw the errors by the number of gradients in a mean, a panel for each layer."""
    from matplotlib.figure import Figure

    layers = len(next(iter(table.values())))
    figure = Figure(figsize=(3.6 * layers, 4.0), layout="constrained")
    panels = figure.subplots(1, layers, squeeze=False)[0]
    for i, (way, found) in enumerate(table.items()):
        for panel, row in zip(panels, found):
            panel.loglog(MEANS, row, "o-" if i < 10 else "s--", ms=3, lw=1.2, color=f"C{i % 10}", label=way)
    for k, panel in enumerate(panels):
        panel.set(xlabel="gradients in a mean", title="the last, real, layer" if k == layers - 1 else f"layer {k}")
    panels[0].set_ylabel("relative RMSE")
    panels[-1].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, np.ndarray]:
    """Measure each way, print the table, draw it, and return it: relative RMSE (layers, len(MEANS)) by name."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("net", nargs="?", help="a file of points and params; without one, a net is trained")
    options.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    for name, default in (("draws", 20_000), ("steps", 6000), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--compare", action="store_true")
    options.add_argument("--picture", default="psa_accuracy.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    values = load(given.net) if given.net else train(given.steps, given.seed, given.backend)
    sizes = (values["x"].shape[1], *(len(values[f"b{k}"]) for k in range(sum(name[0] == "b" for name in values))))
    exact = scg.compile(declare_exact(sizes), backend="numpy")(values)
    truth = layers_of(exact.grad, len(sizes) - 1)
    lengths = " ".join(f"{np.linalg.norm(g):.6f}" for g in truth)
    print(f"{len(values['y'])} points, layers {'-'.join(map(str, sizes))}, loss {exact.cost:.6f}")
    print(f"length of the gradient by layer {lengths}")
    print(f"{'relative RMSE':22}" + " ".join(f"{f'M = {m}':>9}" for m in MEANS))
    table = {}
    for way in given.ways:
        f = scg.compile(declare(sizes), strategy=WAYS[way], backend=given.backend, stderr=False)
        table[way] = errors(f, values, truth, given.draws, samples=2 if "LOO" in way else 1)
        show(way, table[way], given.compare)
    if given.picture:
        picture(given.picture, table)
        print(f"see {given.picture}")
    return table


if __name__ == "__main__":
    main()
