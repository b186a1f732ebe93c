"""Hard attention: a net that sees digits through small windows, and chooses where to look (after Mnih et al. 2014).

Of an image of 28 × 28 pixels only windows of 8 × 8 are seen, one after the other. What is seen, and where, goes into a
recurrent state; from the state comes the mean of a normal variable that says where the next window is; after the last
one the state says which digit it was. Where one looks is drawn, and rounded to pixels, so no derivative of the cost
passes there: the score of each place weighs the cross entropy of the label, less the mean over the other samples. All
else is differentiated as it comes, in one and the same surrogate. The same net that looks at random, where the places
do not depend on the state, is learned beside it.

Run it with ``python examples/hard_attention.py [--glimpses 4] [--steps 1000] [--batch 32] [--data images.npz]
[--picture hard_attention.png]``; a file needs labels. It prints the share of digits held out that are taken for others;
the picture shows errors over the steps, and where the net looks.
"""

from __future__ import annotations

import argparse

import digits
import numpy as np

import scg


def declare(side: int, classes: int, given, looks: bool) -> scg.Graph:
    """The net; `looks` says whether it chooses its windows."""
    g = scg.Graph("attention" if looks else "windows at random")
    x, y = g.data("x", side * side), g.data("y", classes)
    offsets = (side * np.arange(given.window)[:, None] + np.arange(given.window)).ravel()
    most = side - given.window
    weights = {name: g.param(name, (given.units, width), init=_scaled)
               for name, width in (("see", given.window**2), ("where", 2), ("keep", given.units))}
    bias = g.param("bias", given.units, init=0.0)
    look = g.param("look", (2, given.units), init=0.0)

    def step(state, t):
        mean = np.tanh(look @ state) if looks else np.zeros(2)
        spread = given.spread if looks else 0.5
        place = g.sample("place", scg.Normal(mean, spread))
        corner = g.node("corner", np.round(np.clip(0.5 * most * (place + 1.0), 0.0, most)))
        seen = x[side * corner[0] + corner[1] + offsets]
        at = scg.stop_gradient(corner) / most - 0.5
        state = scg.relu(weights["see"] @ seen + weights["where"] @ at + weights["keep"] @ state + bias)
        return state, None

    state, _ = g.scan(step, np.zeros(given.units), length=given.glimpses)
    logits = scg.nn.dense(g, "classes", state, classes)
    g.node("chances", scg.softmax(logits))
    g.cost("label", -(y * scg.log_softmax(logits)).sum())
    return g


def _scaled(rng, shape):
    return rng.normal(scale=shape[1] ** -0.5, size=shape)


def tested(f: scg.EstimatorFunction, values: dict, x: np.ndarray, y: np.ndarray, draws: int = 10) -> float:
    """Share of wrong labels, by the mean of the chances over some ways to look."""
    r = f({**values, "x": x, "y": y}, samples=draws, rng=0, record="chances")
    return float((r.record["chances"].mean(axis=1).argmax(axis=1) != y.argmax(axis=1)).mean())


def train(looks: bool, learn, test, given) -> tuple[scg.optim.Fit, scg.EstimatorFunction, dict[str, list[float]]]:
    """A fit, its function, and errors on the way."""
    side = round(learn[0].shape[1] ** 0.5)
    f = scg.compile(declare(side, learn[1].shape[1], given, looks), backend=given.backend, stderr=False)
    seen: dict[str, list[float]] = {"step": [], "error": []}

    def watch(step, values, r):
        if step % given.every == 0 or step == given.steps - 1:
            seen["step"].append(step)
            seen["error"].append(tested(f, values, *test))

    run = scg.optim.fit(f, {"x": learn[0], "y": learn[1]}, scg.optim.adam(given.rate), steps=given.steps,
                        samples=given.samples, batch=given.batch, rng=given.seed, watch=watch)
    return run, f, seen


def picture(path: str, found: dict, test, given) -> None:
    """Draw errors by step, and windows on some digits."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(11, 4.0), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.4))
    axes = left.subplots()
    for name, (_, _, seen) in found.items():
        axes.plot(seen["step"], 100.0 * np.array(seen["error"]), label=name)
    axes.set(xlabel="step", ylabel="digits held out that are taken for others, %", ylim=(0.0, 100.0))
    axes.legend(frameon=False)
    run, f, _ = found["chosen"]
    count = min(10, len(test[0]))
    shown = {**run.values, "x": test[0][:count], "y": test[1][:count]}
    corners = f(shown, samples=1, rng=0, record="corner").record["corner"]
    side = round(test[0].shape[1] ** 0.5)
    for k, part in enumerate(right.subplots(2, 5).ravel()[:count]):
        part.imshow(test[0][k].reshape(side, side), cmap="gray_r")
        for t, (y, x) in enumerate(corners[k].reshape(given.glimpses, 2)):
            part.add_patch(Rectangle((x - 0.5, y - 0.5), given.window, given.window, fill=False, edgecolor=f"C{t}",
                                     label=f"window {t + 1}"))
        part.set(xticks=[], yticks=[])
    right.legend(handles=list(part.patches), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, tuple[scg.optim.Fit, scg.EstimatorFunction, dict[str, list[float]]]]:
    """Learn with windows that are chosen and at random, print errors, draw, and return what was found."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("glimpses", 4), ("window", 8), ("units", 64), ("steps", 1000), ("batch", 32),
                          ("samples", 4), ("seed", 0), ("every", 100)):
        options.add_argument(f"--{name}", type=int, default=default)
    for name, number in (("rate", 0.002), ("spread", 0.15)):
        options.add_argument(f"--{name}", type=float, default=number)
    options.add_argument("--data")
    options.add_argument("--picture", default="hard_attention.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    (x, labels), (x_test, labels_test) = digits.load_labelled(given.data, given.seed)
    kinds = np.eye(int(max(labels.max(), labels_test.max())) + 1)
    learn, test = (x, kinds[labels.astype(int)]), (x_test, kinds[labels_test.astype(int)])
    print(f"{len(x)} images to learn from, {len(x_test)} to test on")
    found = {}
    for name, looks in (("chosen", True), ("at random", False)):
        found[name] = train(looks, learn, test, given)
        print(f"windows {name:10} {100.0 * found[name][2]['error'][-1]:.1f} % are taken for others")
    if given.picture:
        picture(given.picture, found, test, given)
        print(f"see {given.picture}")
    return found


if __name__ == "__main__":
    main()
