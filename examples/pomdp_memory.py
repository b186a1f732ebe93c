"""Remembering: a policy that must keep what it saw at the beginning of a corridor until it comes to the end (a T-maze).

At the first step a sign says whether to turn left or right at the end of the corridor. After that it is out of sight:
all that is seen is whether one stands at the end. So no policy that looks at the present alone turns the right way
more often than half of the time (Bakker 2002; learned by policy gradients through a recurrent net, Wierstra et al.
2010). At each step one goes on, or turns left or right: a turn at the end is worth 1 in the way of the sign and
nothing in the other, a turn elsewhere loses a tenth, and so does going on at the end.

The policy is a small recurrent net. Its state is carried through the loop, so the scores of the actions are
differentiated back to what was seen at the beginning; the actions themselves are drawn, and weighed by what is earned
from then on, less the mean of the other episodes (Schulman et al. 2015, C.2). The same net without its recurrent
weights is learned beside it. An episode ends with a turn at the end.

Run it with ``python examples/pomdp_memory.py [--corridor 6] [--updates 400] [--episodes 100]``. The picture shows what
both earn, and how far apart their states are at each step after the one sign and after the other.
"""

from __future__ import annotations

import argparse

import numpy as np

import scg

ON, LEFT, RIGHT = 0.0, 1.0, 2.0
SEEN = 4  # a sign for the left, one for the right, the end, and a 1


def declare(corridor: int, steps: int, units: int, memory: bool) -> scg.Graph:
    """An episode: its cost is minus what is earned."""
    g = scg.Graph("maze with memory" if memory else "maze without memory")
    see, keep = g.param("see", (units, SEEN), init=_small), g.param("keep", (units, units), init=_kept)
    act, bias = g.param("act", (3, units), init=_small), g.param("bias", 3, init=0.0)
    sign = g.sample("sign", scg.Bernoulli(probs=0.5))

    def step(carry, first):
        place, state, _ = carry
        end = scg.where(place >= corridor, 1.0, 0.0)
        seen = scg.stack([first * sign, first * (1.0 - sign), end, 1.0])
        state = g.node("state", np.tanh(see @ seen + (keep @ state if memory else 0.0)))
        action = g.sample("action", scg.Categorical(logits=act @ state + bias))
        turns = action != ON
        right = scg.where(action == scg.where(sign > 0.5, LEFT, RIGHT), 1.0, 0.0)
        earned = scg.where(end > 0.5, scg.where(turns, right, -0.1), scg.where(turns, -0.1, 0.0))
        g.cost("earned", -earned)
        place = place + scg.where(turns, 0.0, 1.0) * (1.0 - end)
        return (place, state, end * scg.where(turns, 1.0, 0.0)), None

    g.scan(step, (0.0, np.zeros(units), 0.0), xs=np.eye(steps)[0], until=lambda carry: carry[2] == 1.0)
    return g


def _small(rng, shape):
    return rng.normal(scale=0.5, size=shape)


def _kept(rng, shape):
    return np.eye(shape[0]) + rng.normal(scale=0.1, size=shape)


def apart(f: scg.EstimatorFunction, values: dict, episodes: int) -> np.ndarray:
    """How far apart the mean states are after the two signs, (steps,)."""
    r = f(values, samples=episodes, rng=1, record=("state", "sign"))
    states, sign = r.record["state"][0], r.record["sign"][0]  # the one row
    return np.linalg.norm(states[sign == 1.0].mean(axis=0) - states[sign == 0.0].mean(axis=0), axis=-1)


def picture(path: str, runs: dict[str, tuple[scg.optim.Fit, np.ndarray]], corridor: int) -> None:
    """Draw what is earned, and what is kept of the sign."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (run, distance) in runs.items():
        left.plot(-np.array(run.history["cost"]), label=name)
        right.plot(distance[: corridor + 1], ".-", label=name)
    left.axhline(0.5, color="0.7", linestyle=":")
    left.set(xlabel="update", ylabel="earned in an episode; dotted: by a guess", ylim=(-0.6, 1.05))
    right.set(xlabel=f"step; the end is reached at step {corridor}", ylabel="distance of the states of the two signs")
    left.legend(frameon=False)
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None) -> dict[str, tuple[scg.optim.Fit, np.ndarray]]:
    """Learn with and without memory, print what is earned, draw, and return the fits and the distances."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("corridor", 6), ("updates", 400), ("episodes", 100), ("units", 6), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.03)
    options.add_argument("--picture", default="pomdp_memory.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    runs = {}
    for name, memory in (("with memory", True), ("without", False)):
        f = scg.compile(declare(given.corridor, 2 * given.corridor, given.units, memory), backend=given.backend,
                        stderr=False)
        run = scg.optim.fit(f, {}, scg.optim.adam(given.rate), steps=given.updates, samples=given.episodes,
                            rng=given.seed)
        runs[name] = run, apart(f, run.values, 200)
        late = run.history["cost"][-max(1, given.updates // 10):]
        print(f"{name:12} earned in an episode at the end: {-np.mean(late):.3f}")
    if given.picture:
        picture(given.picture, runs, given.corridor)
        print(f"see {given.picture}")
    return runs


if __name__ == "__main__":
    main()
