"""A sigmoid belief net of binarised digits, learned in three ways (Mnih & Gregor 2014).

An image x of 784 pixels is made from the top down: the 200 binary units of the highest layer are drawn on their own,
each layer given the one above it, and the pixels given the lowest. A second net draws the units from the bottom up,
q(h1 | x), q(h2 | h1). Minimised is the negative evidence bound

    F = mean over images of  E_q[-log p(x | h1) + log q(h1 | x) - log p(h1 | h2) + log q(h2 | h1) - log p(h2)].

Units are 0 or 1, so there is no path for derivatives: draws are weighed by the costs that they influence, less a
baseline. The three ways differ in that:

    leave-one-out   the mean of the other samples' costs
    learned         a net's prediction from what the layer is drawn given, and the mean of what that leaves
    NVIL            the same; then what is left is divided by its standard deviation, which biases the length of a
                    layer's gradient, and not its direction, for all of it is weighed: no part of F is in closed form

Run it with ``python examples/sigmoid_belief_net.py [--layers 200] [--steps 2000] [--batch 100] [--samples 10]
[--data images.npz] [--picture sigmoid_belief_net.png]``; ``--layers 200,200`` has two layers. The picture shows the
bound, the variance of the gradients of the net that goes up, and images that the model makes. The variance is that of
calls with other noise at the same params; that of NVIL is measured before the division, which would make it small on
any data.
"""

from __future__ import annotations

import argparse

import digits
import numpy as np

import scg

WAYS = ("leave-one-out", "learned", "NVIL")
COLOURS = dict(zip(WAYS, ("C0", "C1", "C3")))


def baseline(g: scg.Graph, way: str, layer: int, given, scale: bool):
    """What is subtracted from the costs that weigh a layer's draws."""
    if way == "leave-one-out":
        return scg.LeaveOneOut()
    predicted = scg.nn.mlp(g, f"baseline_{layer}", given, (100, ()))
    return scg.Learned(predicted, centre=True, scale=scale and way == "NVIL")


def drawn_image(p, g: scg.Graph, pixels: int, layers: tuple[int, ...]) -> scg.Bernoulli:
    """The model: units from the top down, drawn by `p`, and the distribution of the pixels given the lowest of them."""
    value = p.sample(f"h{len(layers)}", scg.Bernoulli(logits=g.param("prior", layers[-1], init=0.0)))
    for i, size in reversed(list(enumerate(layers[:-1], start=1))):
        value = p.sample(f"h{i}", scg.Bernoulli(logits=scg.nn.dense(g, f"down_{i}", value, size)))
    return scg.Bernoulli(logits=scg.nn.dense(g, "down_0", value, pixels))


def declare(pixels: int, layers: tuple[int, ...], way: str, scale: bool = True) -> scg.Graph:
    """The negative evidence bound of an image; `scale` is whether NVIL divides."""
    g = scg.Graph(way)
    x = g.data("x", pixels)

    def guide(q):
        value = x
        for i, size in enumerate(layers, start=1):
            rule = scg.ScoreFunction(baseline=baseline(g, way, i, value, scale))
            value = q.sample(f"h{i}", scg.Bernoulli(logits=scg.nn.dense(g, f"up_{i}", value, size)), estimator=rule)

    def model(p):
        p.observe("x", drawn_image(p, g, pixels, layers), x)

    scg.elbo(g, model, guide, closed_form=False)
    return g


def declare_images(pixels: int, layers: tuple[int, ...]) -> scg.Graph:
    """Images of the model, with the params of the same names; "image" are the pixels' means."""
    g = scg.Graph("images")
    image = g.node("image", drawn_image(g, g, pixels, layers).mean)
    g.cost("nothing", 0.0 * image)
    return g


def images(run: scg.optim.Fit, pixels: int, layers: tuple[int, ...], count: int = 64) -> np.ndarray:
    """Means of pixels (count, pixels). A few need no compiled kernel."""
    g = declare_images(pixels, layers)
    f = scg.compile(g, wrt=(), backend="numpy")
    return f({name: run.values[name] for name in g.params}, samples=count, rng=1, record="image").record["image"][0]


def variance(f: scg.EstimatorFunction, values: dict, state: dict, samples: int, calls: int = 10) -> float:
    """Variance of the gradients of the net that goes up, summed over its params, over calls with other noise."""
    names = [name for name in values if name.startswith(("W_up", "b_up"))]
    found = [f(values, samples=samples, rng=seed, state=state).grad for seed in range(calls)]
    return float(sum(np.var([grads[name] for grads in found], axis=0, ddof=1).sum() for name in names))


def train(way: str, images: tuple[np.ndarray, np.ndarray], given) -> tuple[scg.optim.Fit, dict[int, float]]:
    """A fit, and the variance of its gradients by step."""
    train, test = images
    options = {"backend": given.backend, "dtype": "float32", "stderr": False}
    f = scg.compile(declare(train.shape[1], given.layers, way), **options)
    unscaled = scg.compile(declare(train.shape[1], given.layers, way, scale=False), **options) if way == "NVIL" else f
    found: dict[int, float] = {}

    def watch(step, values, r):
        if step % given.every == 0:
            state = {name: value for name, value in r.state.items() if name.endswith("mean")}
            found[step] = variance(unscaled, values, state, given.samples)

    shown = train.mean(axis=0).clip(0.01, 0.99)
    start = {"x": train, "b_down_0": np.log(shown / (1.0 - shown))}  # other params start from what the layers declare
    run = scg.optim.fit(f, start, scg.optim.adam(given.rate), steps=given.steps, samples=given.samples,
                        batch=given.batch, rng=given.seed, every=given.every, watch=watch,
                        validate=lambda values: f({**values, "x": test}, samples=given.samples, rng=0).cost)
    return run, found


def picture(path: str, runs: dict[str, tuple[scg.optim.Fit, dict[int, float]]], new: np.ndarray) -> None:
    """Draw bounds, variances, and images of the model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for way, (run, variances) in runs.items():
        left.plot(run.history["looked"], run.history["validation"], color=COLOURS[way], label=way)
        middle.semilogy(list(variances), list(variances.values()), color=COLOURS[way], label=way)
    left.set(xlabel="step", ylabel="nats per image", title="Negative bound, images held out")
    middle.set(xlabel="step", ylabel="sum over its params", title="Variance of the gradients of the net that goes up")
    left.legend()
    middle.legend()
    digits.show(right, new, 8, f"Images of the model ({next(iter(runs))})")
    figure.savefig(path, dpi=110)


def sizes(text: str) -> tuple[int, ...]:
    """Numbers of units as they are written: 200,200."""
    return tuple(map(int, text.split(",")))


def main(argv=None) -> dict[str, tuple[scg.optim.Fit, dict[int, float]]]:
    """Train in each way, print the bounds, draw, and return the fits and variances."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--layers", type=sizes, default=(200,))
    options.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    for name, default in (("steps", 2000), ("batch", 100), ("samples", 10), ("seed", 0), ("every", 100)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.002)
    options.add_argument("--data")
    options.add_argument("--picture", default="sigmoid_belief_net.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    loaded = digits.load(given.data, given.seed)
    pixels = loaded[0].shape[1]
    print(f"{len(loaded[0])} images to learn from, {len(loaded[1])} to test on, {pixels} pixels")
    runs = {}
    for way in given.ways:
        run, variances = runs[way] = train(way, loaded, given)
        print(f"{way:14} negative bound {run.history['validation'][-1]:8.2f} nats, variance of the gradients "
              f"{list(variances.values())[-1]:.3g}")
    if given.picture:
        picture(given.picture, runs, images(runs[given.ways[0]][0], pixels, given.layers))
        print(f"see {given.picture}")
    return runs


if __name__ == "__main__":
    main()
