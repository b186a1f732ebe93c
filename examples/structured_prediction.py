"""The lower half of a digit from the upper half, by two layers of binary units (Gu, Levine, Sutskever & Mnih 2016).

The 392 pixels x of the upper half move 200 binary units, these 200 more, and these the pixels y of the lower half, each
of which is drawn on its own. Minimised is E[-log p(y | h2)], with one draw of the units; tested is

    -log (1/m) sum over m draws of p(y | h2),  m = 100.

What can be seen of the lower half has several answers, so the units are random. Four estimators of the gradient of the
layers are compared, the same params, images and noise for all:

    MuProp-C   the score function with an expansion about the mean field, less an average over earlier calls
    LR-C       the score function (likelihood ratio), less an average over earlier calls
    ST         straight-through, with the derivative of the mean: biased
    1/2        the half-estimator: biased

On MNIST the paper has 57.7 nats for MuProp-C, 56.1 for ST, 57.2 for 1/2, and 63.2 for LR with more baselines: its rates
are chosen for each, and its images are 50,000. Here are 4,500, and one rate. After 1,000 steps the order is the same,
and further apart: 90.4 for MuProp-C, 74.1 for ST, 75.5 for 1/2, and 105.5 for LR-C, which has hardly begun. The
variance of the gradients says why: it is 380 for MuProp-C, 29,000 for LR-C, and 1 to 3 for the biased two, whose bias
does not hold them up so early.

Run it with ``python examples/structured_prediction.py [--layers 200,200] [--steps 2000] [--batch 100] [--rate 0.001]
[--data images.npz] [--picture structured_prediction.png]``. The picture shows the loss, the variance of the gradients
of the layers, which is that of calls with other noise at the same params, and what the net makes of upper halves.
"""

from __future__ import annotations

import argparse

import digits
import numpy as np

import scg

WAYS: dict[str, scg.Estimator] = {
    "MuProp-C": scg.MuProp(baseline=scg.MovingAverage()), "LR-C": scg.ScoreFunction(scg.MovingAverage()),
    "ST": scg.StraightThrough(), "1/2": scg.Half()}  # fmt: skip


def declare(inputs: int, outputs: int, layers: tuple[int, ...]) -> scg.Graph:
    """The cost of an image; "nll" is that of its lower half in each replicate, and "image" the means of its pixels."""
    g = scg.Graph("halves")
    h, y = g.data("x", inputs), g.data("y", outputs)
    for k, size in enumerate(layers, start=1):
        h = g.sample(f"h{k}", scg.Bernoulli(logits=scg.nn.dense(g, f"layer_{k}", h, size)))
    pixels = scg.Bernoulli(logits=scg.nn.dense(g, "pixels", h, outputs))
    g.node("image", pixels.mean)
    g.cost("loss", g.node("nll", -pixels.log_prob(y).sum()))
    return g


def halves(images: np.ndarray) -> dict[str, np.ndarray]:
    """Upper and lower halves of images (rows, pixels)."""
    middle = images.shape[1] // 2
    return {"x": images[:, :middle], "y": images[:, middle:]}


def variance(f: scg.EstimatorFunction, values: dict, state: dict, calls: int = 10) -> float:
    """Variance of the gradients of the layers, summed over their params, over calls with other noise."""
    names = [name for name in values if name.startswith(("W_layer", "b_layer"))]
    found = [f(values, samples=1, rng=seed, state=state).grad for seed in range(calls)]
    return float(sum(np.var([grads[name] for grads in found], axis=0, ddof=1).sum() for name in names))


def test_loss(f: scg.EstimatorFunction, values: dict, images: np.ndarray, draws: int) -> float:
    """-log of the mean of p(y | h2) over draws, averaged over images."""
    nll = f({**values, **halves(images)}, samples=draws, rng=0, record="nll").record["nll"]
    return float(np.mean(-(np.logaddexp.reduce(-nll, axis=1) - np.log(draws))))


def train(way: str, images: tuple[np.ndarray, np.ndarray], given) -> tuple[scg.optim.Fit, dict[int, float]]:
    """A fit, and the variance of its gradients by step."""
    train, test = images
    data = halves(train)
    g = declare(data["x"].shape[1], data["y"].shape[1], given.layers)
    f = scg.compile(g, strategy=WAYS[way], backend=given.backend, dtype="float32", stderr=False)
    found: dict[int, float] = {}

    def watch(step, values, r):
        if step % given.every == 0:
            part = {**values, "x": data["x"][: given.batch], "y": data["y"][: given.batch]}
            found[step] = variance(f, part, r.state)

    shown = data["y"].mean(axis=0).clip(0.01, 0.99)
    start = {**data, "b_pixels": np.log(shown / (1.0 - shown))}
    run = scg.optim.fit(f, start, scg.optim.adam(given.rate), steps=given.steps, samples=1, batch=given.batch,
                        rng=given.seed, every=given.every, watch=watch,
                        validate=lambda values: test_loss(f, values, test, given.draws))
    return run, found


def completed(run: scg.optim.Fit, images: np.ndarray, layers: tuple[int, ...]) -> np.ndarray:
    """Images, each followed by its upper half with a draw of the lower one."""
    data = halves(images)
    f = scg.compile(declare(data["x"].shape[1], data["y"].shape[1], layers), wrt=(), backend="numpy")
    given = {name: run.values[name] for name in run.values if name not in data}
    lower = f({**given, **data}, samples=1, rng=1, record="image").record["image"][:, 0]
    made = np.concatenate([data["x"], lower], axis=1)
    return np.stack([images, made], axis=1).reshape(-1, images.shape[1])


def picture(path: str, runs: dict[str, tuple[scg.optim.Fit, dict[int, float]]], made: np.ndarray) -> None:
    """Draw losses, variances, and completed images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for way, (run, variances) in runs.items():
        left.plot(run.history["looked"], run.history["validation"], label=way)
        middle.semilogy(list(variances), list(variances.values()), label=way)
    left.set(xlabel="step", ylabel="nats per image", title="Lower halves of images held out")
    middle.set(xlabel="step", ylabel="sum over their params", title="Variance of the gradients of the layers")
    left.legend()
    middle.legend()
    digits.show(right, made, 8, f"Completed below ({next(iter(runs))})")
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, tuple[scg.optim.Fit, dict[int, float]]]:
    """Train in each way, print the losses, draw, and return the fits and variances."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--layers", type=lambda text: tuple(map(int, text.split(","))), default=(200, 200))
    options.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    for name, default in (("steps", 2000), ("batch", 100), ("draws", 100), ("seed", 0), ("every", 100)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.001)
    options.add_argument("--data")
    options.add_argument("--picture", default="structured_prediction.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    loaded = digits.load(given.data, given.seed)
    print(f"{len(loaded[0])} images to learn from, {len(loaded[1])} to test on")
    runs = {}
    for way in given.ways:
        run, variances = runs[way] = train(way, loaded, given)
        losses = run.history["validation"]
        print(f"{way:10} test loss {losses[-1]:8.2f} nats, lowest {min(losses):8.2f}; variance of the gradients "
              f"{list(variances.values())[-1]:.3g}", flush=True)
    if given.picture:
        picture(given.picture, runs, completed(runs[given.ways[0]][0], loaded[1][:24], given.layers))
        print(f"see {given.picture}")
    return runs


if __name__ == "__main__":
    main()
