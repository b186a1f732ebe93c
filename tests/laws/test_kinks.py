"""A kink that is met with positive probability is noted: the derivative there is one of two."""

import numpy as np
import pytest

import scg

PROBS = np.array([0.2, 0.5, 0.3])  # of D = 0, 1, 2


def newsvendor(loss, in_loop=False):
    g = scg.Graph("newsvendor")
    q = g.param("q")

    def step(s, _):
        g.cost("c", loss(q, g.sample("D", scg.Categorical(probs=PROBS))))
        return s, None

    g.scan(step, 0.0, length=1) if in_loop else step(0.0, None)
    return g


# what is lost at q = 1: the cost, and its derivative from the documented side
LOSSES = {
    "maximum": (lambda q, d: np.maximum(q - d, 0.0), PROBS[:2].sum()),
    "the other way round": (lambda q, d: np.maximum(0.0, q - d), PROBS[0]),
    "minimum": (lambda q, d: np.minimum(q, d), PROBS[1:].sum()),
    "relu": (lambda q, d: scg.relu(q - d), PROBS[:2].sum()),
    "abs": (lambda q, d: abs(q - d), PROBS[0] - PROBS[2]),
    "clip": (lambda q, d: np.clip(q, 0.5, d + 0.25), PROBS[1:].sum()),
    "largest": (lambda q, d: np.max(scg.stack([q, d])), PROBS[0] + 0.5 * PROBS[1]),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_tie_is_noted_and_the_side_is_the_documented_one(name, in_loop):
    loss, right = LOSSES[name]
    f = scg.compile(newsvendor(loss, in_loop), backend="numpy")
    r = f({"q": 1.0}, samples=4000, rng=0)
    assert abs(r.grad["q"] - right) < 5 * r.stderr["q"]
    assert any("at its kink" in note for note in r.notes) == (name != "clip")
    assert not any("at its kink" in note for note in f({"q": 0.7}, samples=4000, rng=0).notes)


@pytest.mark.parametrize("strategy", [scg.Enumerate(), scg.ScoreFunction(), scg.LocalExpectation()], ids=repr)
def test_in_kernels_and_in_worlds(strategy):
    """Also where the site moves; the note names the line once."""
    g = scg.Graph("moved")
    q, t = g.param("q"), g.param("t")
    d = g.sample("D", scg.Bernoulli(logits=t))
    g.cost("c", np.maximum(q - d, 0.0))
    f = scg.compile(g, strategy=strategy, backend="numba" if strategy == scg.Enumerate() else "numpy")
    noted = [n for n in f({"q": 1.0, "t": 0.2}, samples=200, rng=0).notes if "kink" in n]
    assert len(noted) == 1 and "test_kinks.py" in noted[0]
    assert not any("kink" in n for n in f({"q": 0.5, "t": 0.2}, samples=200, rng=0).notes)


def test_data_are_atoms():
    g = scg.Graph("rows")
    g.cost("c", np.maximum(g.param("q") - g.data("d"), 0.0))
    f = scg.compile(g, backend="numpy")
    assert any("kink" in n for n in f({"q": 2.0, "d": [1.0, 2.0]}, rng=0).notes)
    assert not any("kink" in n for n in f({"q": 2.0, "d": [1.0, 3.0]}, rng=0).notes)


def test_what_has_a_density_is_not_counted():
    """Nor what is not differentiated: those kernels stay as they are."""
    g = scg.Graph("smooth")
    q = g.param("q")
    z = g.sample("z", scg.Normal(loc=q, scale=1.0))
    k = g.sample("k", scg.Bernoulli(probs=0.5))
    g.cost("c", scg.relu(z - q) + np.maximum(k, 1.0) + scg.stop_gradient(np.maximum(q, k)))
    from scg.derivation import derive
    from scg.passes.outputs import program_of

    program = program_of(derive(g), "float64", True)
    assert all(o.role != "tie" for o in program.outputs)
