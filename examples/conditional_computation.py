"""Units that are switched on by gates, of which one in ten is open (Bengio, Léonard & Courville 2013).

An image moves linear units, the experts, and by a net of its own, the gater, a gate for each of them, which is drawn
at random. Experts times gates are read by a softmax over the ten digits: where a gate is 0, an expert need not be
computed.
Minimised is the cross entropy of the label, and what keeps the gates at their target,

    weight * sum over gates of  -s log p - (1 - s) log(1 - p),   s = 0.1,

with p the probability that a gate is open for an image (in the paper its mean over the minibatch). There are four
gaters, as there:

    rectifier         max(0, a + noise), differentiated along its path
    straight-through  0 or 1 with probability σ(a), and a has its derivative as it comes: biased
    smooth            b √p, with p = σ(a) and b = 1 with probability √p, differentiated through √p: biased
    binary neuron     0 or 1, and the score function with the best constant for each gate

Of 2,000 experts the paper has, on MNIST, errors of 1.87, 1.39, 1.96 and 1.89 %, after a search for rates. Here are
4,500 images, 400 experts and one rate; after 1,000 steps errors are 9.6, 8.0, 8.6 and 9.6 %, where 11.0, 12.5, 11.1
and 13.1 % of the gates are open. Straight-through leads here too. The binary neuron, whose signal is the whole cost,
learns most slowly, and is about as good as the rectifier at the end, as in the paper.

Run it with ``python examples/conditional_computation.py [--experts 400] [--hidden 200] [--steps 1500] [--batch 32]
[--weight 0.02] [--data images.npz] [--picture conditional_computation.png]``; a file needs labels. Tested is by the
mean of the probabilities over 20 draws of the gates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import digits
import numpy as np

import scg

TARGET = 0.1
RATIO = 1.702  # σ(1.702 a) is nearly Φ(a), the probability that a + z is above 0 for normal noise z


def rectifier(g: scg.Graph, a):
    """Gates, and the probability that each is open."""
    return scg.nn.noisy_rectifier(g, "gates", a), scg.sigmoid(RATIO * a)


def straight_through(g: scg.Graph, a):
    """The same of binary gates whose derivative is taken as it comes."""
    gates = g.sample("gates", scg.Bernoulli(logits=a), estimator=scg.StraightThrough(derivative=False))
    return gates, scg.sigmoid(a)


def smooth(g: scg.Graph, a):
    """The same of a smooth factor times a stochastic one, which is not 0 with probability √σ(a)."""
    return scg.nn.smooth_times_stochastic(g, "gates", a), np.sqrt(scg.sigmoid(a))


def binary_neuron(g: scg.Graph, a):
    """The same of binary gates that costs weigh, less the best constant for each."""
    return g.sample("gates", scg.Bernoulli(logits=a), estimator=scg.ScoreFunction(scg.Optimal())), scg.sigmoid(a)


GATERS: dict[str, Callable] = {"rectifier": rectifier, "straight-through": straight_through, "smooth": smooth,
                               "binary neuron": binary_neuron}


def declare(way: str, pixels: int, classes: int, given) -> scg.Graph:
    """The net with one of the gaters; "chances" are those of the classes, and "open" the share of open gates."""
    g = scg.Graph("gated net")
    x, y = g.data("x", pixels), g.data("y", classes)
    experts = scg.nn.dense(g, "experts", x, given.experts)
    a = scg.nn.dense(g, "gater_2", scg.tanh(scg.nn.dense(g, "gater_1", x, given.hidden)), given.experts)
    gates, p = GATERS[way](g, a)
    logits = scg.nn.dense(g, "classes", experts * gates, classes)
    g.node("chances", scg.softmax(logits))
    g.node("open", scg.where(gates > 0.0, 1.0, 0.0).mean())
    p = np.clip(p, 1e-4, 1.0 - 1e-4)
    g.cost("label", -(y * scg.log_softmax(logits)).sum())
    g.cost("sparsity", -(TARGET * np.log(p) + (1.0 - TARGET) * np.log1p(-p)).sum() * given.weight)
    return g


def tested(f: scg.EstimatorFunction, values: dict, x: np.ndarray, y: np.ndarray, draws: int = 20):
    """Share of wrong labels, and of open gates."""
    r = f({**values, "x": x, "y": y}, samples=draws, rng=0, record=("chances", "open"))
    wrong = r.record["chances"].mean(axis=1).argmax(axis=1) != y.argmax(axis=1)
    return float(wrong.mean()), float(r.record["open"].mean())


def train(way: str, learn, test, given) -> tuple[scg.optim.Fit, dict[str, list[float]]]:
    """A fit, and what was seen on the way: steps, errors, and shares of open gates."""
    classes = learn[1].shape[1]
    f = scg.compile(declare(way, learn[0].shape[1], classes, given), backend=given.backend, dtype="float32",
                    stderr=False)
    seen: dict[str, list[float]] = {"step": [], "error": [], "open": []}

    def watch(step, values, r):
        if step % given.every == 0 or step == given.steps - 1:
            error, share = tested(f, values, *test)
            for name, number in zip(seen, (step, error, share)):
                seen[name].append(number)

    start = {"x": learn[0], "y": learn[1], "b_gater_2": np.full(given.experts, np.log(TARGET / (1.0 - TARGET)))}
    run = scg.optim.fit(f, start, scg.optim.adam(given.rate), steps=given.steps, samples=1, batch=given.batch,
                        rng=given.seed, watch=watch)
    return run, seen


def picture(path: str, found: dict[str, tuple[scg.optim.Fit, dict[str, list[float]]]]) -> None:
    """Draw errors and shares of open gates by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for way, (_, seen) in found.items():
        left.plot(seen["step"], 100.0 * np.array(seen["error"]), label=way)
        right.plot(seen["step"], 100.0 * np.array(seen["open"]), label=way)
    right.axhline(100.0 * TARGET, color="0.6", lw=1.0)
    left.set(xlabel="step", ylabel="%", title="Digits held out that are taken for others")
    right.set(xlabel="step", ylabel="%", title="Gates that are open; grey: the target")
    left.legend()
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, tuple[scg.optim.Fit, dict[str, list[float]]]]:
    """Train with each gater, print errors, draw, and return fits and what was seen."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--ways", type=lambda text: text.split(","), default=list(GATERS))
    for name, default in (("experts", 400), ("hidden", 200), ("steps", 1500), ("batch", 32), ("seed", 0),
                          ("every", 250)):
        options.add_argument(f"--{name}", type=int, default=default)
    for name, number in (("rate", 0.001), ("weight", 0.02)):
        options.add_argument(f"--{name}", type=float, default=number)
    options.add_argument("--data")
    options.add_argument("--picture", default="conditional_computation.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    (x, labels), (x_test, labels_test) = digits.load_labelled(given.data, given.seed)
    kinds = np.eye(int(max(labels.max(), labels_test.max())) + 1)
    learn, test = (x, kinds[labels.astype(int)]), (x_test, kinds[labels_test.astype(int)])
    print(f"{len(x)} images to learn from, {len(x_test)} to test on, {len(kinds)} labels")
    found = {}
    for way in given.ways:
        run, seen = found[way] = train(way, learn, test, given)
        print(f"{way:17} error {100.0 * seen['error'][-1]:6.2f} %, gates open {100.0 * seen['open'][-1]:5.1f} %, "
              f"cross entropy in training {np.mean(run.history['costs']['label'][-100:]):.4f}", flush=True)
    if given.picture:
        picture(given.picture, found)
        print(f"see {given.picture}")
    return found


if __name__ == "__main__":
    main()
