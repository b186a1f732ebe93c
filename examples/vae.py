"""A variational autoencoder of binarised digits (Kingma & Welling 2014; Rezende, Mohamed & Wierstra 2014).

An image x of 784 pixels has a latent vector z of 20 numbers, standard normal a priori, and each pixel is a Bernoulli
variable whose logit is a net's of z. Another net makes a normal distribution q(z | x) of the image. Minimised is the
negative evidence bound

    F = mean over images of  E_q[-log p(x | z)] + KL(q(z | x) || p(z)),

whose gradient goes along the path of the sample, z = loc + scale · noise: the compiler sees that it may.

Run it with ``python examples/vae.py [--steps 3000] [--batch 64] [--samples 1] [--hidden 200] [--latent 20]
[--data images.npz] [--picture vae.png]``. The picture shows the bound, images that were held out above what is made of
them, and new ones.
"""

from __future__ import annotations

import argparse

import digits
import numpy as np

import scg


def decoded(g: scg.Graph, z, hidden: int, pixels: int) -> scg.Bernoulli:
    """The distribution of an image's pixels, given z."""
    logits = scg.nn.mlp(g, "decoder", z, (hidden, pixels), activation=scg.softplus)
    g.node("image", scg.sigmoid(logits))
    return scg.Bernoulli(logits=logits)


def declare(pixels: int, hidden: int, latent: int) -> scg.Graph:
    """The negative evidence bound of an image."""
    g = scg.Graph("vae")
    x = g.data("x", pixels)

    def guide(q):
        h = scg.softplus(scg.nn.dense(g, "encoder", x, hidden))
        q.sample("z", scg.Normal(scg.nn.dense(g, "loc", h, latent), scg.softplus(scg.nn.dense(g, "scale", h, latent))))

    def model(p):
        p.observe("x", decoded(g, p.sample("z", scg.Normal(0.0, 1.0)), hidden, pixels), x)

    scg.elbo(g, model, guide)
    return g


def declare_prior(pixels: int, hidden: int, latent: int) -> scg.Graph:
    """Images of the model alone, with the params of the same names."""
    g = scg.Graph("images")
    z = g.sample("z", scg.Normal(np.zeros(latent), 1.0))
    g.cost("nothing", 0.0 * decoded(g, z, hidden, pixels).log_prob(np.zeros(pixels)))
    return g


def images(graph: scg.Graph, params: dict, samples: int = 1, seed: int = 0, **data) -> np.ndarray:
    """The node "image" of a graph, (rows, samples, pixels). A few rows need no compiled kernel."""
    f = scg.compile(graph, wrt=(), backend="numpy")
    return f({**{name: params[name] for name in graph.params}, **data}, samples=samples, rng=seed,
             record="image").record["image"]


def picture(path: str, run: scg.optim.Fit, test: np.ndarray, sizes: tuple[int, int, int]) -> None:
    """Draw the bound, reconstructions and samples."""
    from matplotlib.figure import Figure

    shown = test[:24]
    made = images(declare(*sizes), run.values, x=shown)[:, 0]
    new = images(declare_prior(*sizes), run.values, samples=48)[0]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(run.history["cost"], color="0.8", label="minibatches")
    left.plot(run.history["looked"], run.history["validation"], color="C3", label="held out")
    left.set(xlabel="step", ylabel="nats per image", title="Negative bound",
             ylim=(0.9 * min(run.history["cost"]), 1.1 * run.history["cost"][len(run.history["cost"]) // 50]))
    left.legend()
    lines = [row for i in range(0, len(shown), 8) for row in (*shown[i : i + 8], *made[i : i + 8])]
    digits.show(middle, np.array(lines), 8, "Held out, and reconstructed below")
    digits.show(right, new, 8, "Images of the model")
    figure.savefig(path, dpi=110)


def main(argv=None) -> scg.optim.Fit:
    """Train, print the bound, draw, and return the fit."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("steps", 3000), ("batch", 64), ("samples", 1), ("hidden", 200), ("latent", 20), ("seed", 0),
                          ("every", 100)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.001)
    options.add_argument("--data")
    options.add_argument("--picture", default="vae.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    train, test = digits.load(given.data, given.seed)
    sizes = train.shape[1], given.hidden, given.latent
    print(f"{len(train)} images to learn from, {len(test)} to test on, {sizes[0]} pixels")
    f = scg.compile(declare(*sizes), backend=given.backend, dtype="float32", stderr=False)
    run = scg.optim.fit(f, {"x": train}, scg.optim.adam(given.rate), steps=given.steps, batch=given.batch,
                        samples=given.samples, rng=given.seed, every=given.every,
                        validate=lambda values: f({**values, "x": test}, samples=4, rng=0).cost)
    print(f"negative bound of images held out: {run.history['validation'][-1]:.2f} nats")
    if given.picture:
        picture(given.picture, run, test, sizes)
        print(f"see {given.picture}")
    return run


if __name__ == "__main__":
    main()
