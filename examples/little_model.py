"""A Little model that reads digits: binary units that update each other, all at once, for ever (Little 1974).

In every step each unit is drawn anew, given all of them and an image that stays before them,

    y' ~ Bernoulli(σ(W y + U x + b)),

with any weights W, so that there are cycles and no symmetry: the stationary law is not known, even up to a constant.
Ten units stand for the ten digits. Minimised is the stationary mean of the cross entropy of the label under
softmax(4 y') of these ten, and an image is taken for the digit whose unit is on most often.

Its gradient, by phantoms (Flynn & Vázquez-Abad 2019): in one step of the chain a draw is replaced by 1 and by 0, both
chains run on under one noise until they meet, and what their costs differ by is counted. The ways differ in how many:

    Phantoms          two for each unit
    LikelihoodRatio   none: the score of a step weighs the costs of the next few
    SPWD              two, along a random direction of all params

Calls of all three take about as long here: SPWD has eight pairs in a chain where Phantoms have one of each unit. After
1,000 steps 10.6, 13.2 and 26.2 % of 500 digits held out are taken for others, in the order of the table. The variance
of the gradient is 0.06, 0.06 and 45: the one random direction has 1,056 params in it, and SPWD learns, but slowly.
All look six steps ahead, which biases them: at the params that Phantoms find, 1.6 % of the pairs have not met by then.

Run it with ``python examples/little_model.py [--hidden 6] [--steps 1000] [--batch 200] [--ways Phantoms,SPWD]
[--data images.npz] [--picture little_model.png]``; a file needs labels. Printed are errors, and the variance of the
gradients of a minibatch in all ways at the params that the first way found. The picture shows how the ways learn,
these variances, and the ten units while one digit after the other is shown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import digits
import numpy as np

import scg

SHARP = 4.0  # a unit that is on has e⁴ times the weight of one that is off
# How many pairs of phantoms, or windows, a chain of each has: as many as make calls with 16 units about as long.
WAYS: dict[str, tuple[Callable, int]] = {
    "Phantoms": (lambda ahead: scg.Phantoms(truncation=ahead), 1),
    "LikelihoodRatio": (lambda ahead: scg.LikelihoodRatio(window=ahead), 4),
    "SPWD": (lambda ahead: scg.SPWD(truncation=ahead), 8),
}


def declare(pixels: int, classes: int, hidden: int, horizon: int, burn_in: int = 10) -> scg.Graph:
    """The net; its first units stand for the labels."""
    g = scg.Graph("little model")
    x, label = g.data("x", pixels), g.data("label", classes)
    units = classes + hidden
    W, U = g.param("W", (units, units), init=scg.nn.glorot), g.param("U", (units, pixels), init=scg.nn.glorot)
    seen = U @ x + g.param("b", units, init=0.0)

    def step(y):
        new = g.sample("y", scg.Bernoulli(logits=W @ y + seen))
        g.cost("wrong", -(label * scg.log_softmax(SHARP * new[:classes])).sum())
        return new

    g.chain(step, init=np.zeros(units), burn_in=burn_in, horizon=horizon)
    return g


def coarse(images: np.ndarray, block: int) -> np.ndarray:
    """Means of blocks of pixels."""
    side = round(images.shape[1] ** 0.5) // block
    return images.reshape(len(images), side, block, side, block).mean(axis=(2, 4)).reshape(len(images), -1)


def prepared(given) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Blocks of pixels, of mean 0 and with a variance of 1 in the whole, and labels as rows of 0 and 1."""
    (x, labels), (x_test, labels_test) = digits.load_labelled(given.data, given.seed)
    x, x_test = coarse(x, given.block), coarse(x_test, given.block)
    mean = x.mean(axis=0)
    scale = (x - mean).std()
    kinds = np.eye(int(max(labels.max(), labels_test.max())) + 1)
    return ((x - mean) / scale, kinds[labels.astype(int)]), ((x_test - mean) / scale, kinds[labels_test.astype(int)])


def runs(f: scg.EstimatorFunction, values: dict, x: np.ndarray, y: np.ndarray, burn_in: int = 10) -> np.ndarray:
    """The units that stand for labels while each image is shown, (rows, steps, classes)."""
    found = f({**values, "x": x, "label": y}, samples=1, rng=0, record="y").record["y"]
    return found[:, 0, burn_in:, : y.shape[1]]


def error(f: scg.EstimatorFunction, values: dict, x: np.ndarray, y: np.ndarray) -> float:
    """Share of the images that are taken for others."""
    return float(np.mean(runs(f, values, x, y).mean(axis=1).argmax(axis=1) != y.argmax(axis=1)))


def train(f: scg.EstimatorFunction, looks: scg.EstimatorFunction, learn, test, given):
    """A fit, and errors of the images held out by step."""
    found: dict[int, float] = {}

    def watch(step, values, r):
        if step % given.every == 0 or step == given.steps - 1:
            found[step] = error(looks, values, *test)

    classes = learn[1].shape[1]
    rare = np.concatenate([np.full(classes, -np.log(classes - 1.0)), np.zeros(given.hidden)])  # a label is one of many
    run = scg.optim.fit(f, {"x": learn[0], "label": learn[1], "b": rare}, scg.optim.adam(given.rate), steps=given.steps,
                        batch=given.batch, rng=given.seed, watch=watch)
    return run, found


def variance(f: scg.EstimatorFunction, values: dict, calls: int) -> tuple[float, float]:
    """Variance of a gradient over calls with other noise, summed over its elements, and seconds of a call."""
    began = time.perf_counter()
    grads = [f(values, samples=1, rng=seed).grad for seed in range(calls)]
    spent = (time.perf_counter() - began) / calls
    return sum(float(np.var([each[name] for each in grads], axis=0, ddof=1).sum()) for name in "WUb"), spent


def picture(path: str, found: dict, spread: dict[str, tuple[float, float]], shown: np.ndarray) -> None:
    """Draw costs and errors by step, variances, and the units over time; `shown` is (images, steps, classes)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    axes = figure.subplot_mosaic("cev;ttt")
    for way, (run, errors) in found.items():
        axes["c"].plot(run.history["cost"], lw=0.7, label=way)
        axes["e"].plot(list(errors), 100.0 * np.array(list(errors.values())), ".-")
    axes["c"].set(xlabel="step", ylabel="nats per image", title="Stationary cost of a minibatch")
    axes["c"].legend()
    axes["e"].set(xlabel="step", ylabel="%", ylim=(0.0, 100.0), title="Digits held out that are taken for others")
    for way, (number, _) in spread.items():
        axes["v"].semilogy(way, number, "o")
    axes["v"].set(ylabel="sum over all params", title="Variance of the gradient, same params")
    axes["v"].margins(x=0.2)
    images, steps, classes = shown.shape
    axes["t"].imshow(shown.reshape(-1, classes).T, cmap="gray_r", aspect="auto", interpolation="nearest")
    for i in range(images):
        axes["t"].axvline(steps * i - 0.5, color="C0", lw=0.7)
    axes["t"].set(xticks=steps * (np.arange(images) + 0.5) - 0.5, xticklabels=[f"{i} is shown" for i in range(images)],
                  yticks=range(classes), ylabel="unit", title="Units that are on, step by step")
    figure.savefig(path, dpi=110)


def first_of_each(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One image of each label, in the order of the labels."""
    rows = [int(np.argmax(kind)) for kind in y.T]
    return x[rows], y[rows]


def main(argv=None) -> tuple[dict, dict[str, tuple[float, float]]]:
    """Train in each way, print errors and variances, draw, and return fits and variances."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    for name, default in (("hidden", 6), ("steps", 1000), ("batch", 200), ("ahead", 6), ("block", 4), ("every", 100),
                          ("shown", 50), ("calls", 20), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.01)
    options.add_argument("--data")
    options.add_argument("--picture", default="little_model.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    learn, test = prepared(given)
    sizes = learn[0].shape[1], learn[1].shape[1], given.hidden
    print(f"{len(learn[0])} images to learn from, {len(test[0])} to test on, {sizes[0]} blocks of pixels")
    kind = {"backend": given.backend, "dtype": "float32", "stderr": False}
    looks = scg.compile(declare(*sizes, given.shown), wrt=(), **kind)
    calls, found = {}, {}
    for way in given.ways:
        rule, pairs = WAYS[way]
        horizon = pairs * (given.ahead + 1)
        f = calls[way] = scg.compile(declare(*sizes, horizon), strategy=rule(given.ahead), **kind)
        run, errors = found[way] = train(f, looks, learn, test, given)
        print(f"{way:16} error {100.0 * errors[given.steps - 1]:6.2f} %, cost in training "
              f"{np.mean(run.history['cost'][-50:]):.3f}", flush=True)
    at = {**found[given.ways[0]][0].values, "x": learn[0][: given.batch], "label": learn[1][: given.batch]}
    spread = {way: variance(f, at, given.calls) for way, f in calls.items()}
    for way, (number, spent) in spread.items():
        print(f"{way:16} variance of the gradient {number:10.4g}, {1000.0 * spent:6.1f} ms a call")
    if given.picture:
        picture(given.picture, found, spread, runs(looks, at, *first_of_each(*test)))
        print(f"see {given.picture}")
    return found, spread


if __name__ == "__main__":
    main()
