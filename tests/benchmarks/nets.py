"""The nets that every contender steps: their sizes, values and costs. NumPy alone: peers import it too.

``"belief net"``: a sigmoid belief net 784-200-200 with a net q that goes up, and the negative evidence bound of a
minibatch of 100 rows with 10 samples each; draws are weighed by the costs that they influence, less the mean of the
other samples' (leave-one-out; Pyro has moving averages instead). ``"autoencoder"``: a Gaussian variational autoencoder
784-200-20, 64 rows with 4 samples each, by the path of the sample. All compute cost and all gradients, in float32.
"""

import numpy as np

MODELS = {"belief net": (100, 10), "autoencoder": (64, 4)}  # rows, and samples of each
PIXELS, HIDDEN, TOP, LATENT = 784, 200, 200, 20
LAYERS = {
    "belief net": {"up_1": (PIXELS, HIDDEN), "up_2": (HIDDEN, TOP), "down_1": (TOP, HIDDEN),
                   "down_0": (HIDDEN, PIXELS)},
    "autoencoder": {"encoder": (PIXELS, HIDDEN), "loc": (HIDDEN, LATENT), "scale": (HIDDEN, LATENT),
                    "decoder": (LATENT, HIDDEN), "image": (HIDDEN, PIXELS)},
}


def params(model: str) -> dict[str, np.ndarray]:
    """Weights and biases of the layers, and of a belief net the logits of its highest units."""
    rng = np.random.default_rng(0)
    out = {}
    for name, (inputs, outputs) in LAYERS[model].items():
        out[f"W_{name}"] = (0.05 * rng.standard_normal((inputs, outputs))).astype(np.float32)
        out[f"b_{name}"] = (0.05 * rng.standard_normal(outputs)).astype(np.float32)
    if model == "belief net":
        out["prior"] = (0.05 * rng.standard_normal(TOP)).astype(np.float32)
    return out


def data(model: str) -> np.ndarray:
    """Rows of pixels, 0 or 1."""
    return (np.random.default_rng(1).random((MODELS[model][0], PIXELS)) < 0.3).astype(np.float32)


def directions(model: str) -> dict[str, np.ndarray]:
    """Along which the gradient is compared between contenders: one number says whether all of it is right."""
    rng = np.random.default_rng(2)
    return {name: rng.standard_normal(value.shape) / np.sqrt(value.size) for name, value in params(model).items()}


def along(model: str, grads) -> float:
    """The gradient's projection."""
    return float(sum(np.vdot(d, np.asarray(grads[name])) for name, d in directions(model).items()))


def products(model: str) -> list[tuple[int, int, int]]:
    """The matrix products of a step, (m, k, n) each: forward, of the weights' gradients, of the layers' inputs."""
    rows, samples = MODELS[model]
    many, layers = rows * samples, LAYERS[model]
    shared = {"up_1", "encoder", "loc", "scale"}  # once per row, not per sample
    first = {"up_1", "encoder"}
    discrete = model == "belief net"  # no gradient goes into a layer's input
    out = []
    for name, (inputs, outputs) in layers.items():
        m = rows if name in shared else many
        out += [(m, inputs, outputs), (inputs, m, outputs)]
        if not discrete and name not in first:
            out.append((m, outputs, inputs))
    return out
