"""Balancing a pole on a cart, by policy gradient: CartPole-v1 of Gymnasium, learned in a compiled loop.

A cart is pushed to the left or to the right at every step, with probabilities that depend linearly on its position
and speed and on the pole's angle and turning speed. Each step on which the pole still stands is worth 1; the episode is
over when the pole leans by 12° or the cart leaves the track, or after 500 steps. The gradient of the expected sum is
that of Schulman et al. (2015): the score of each push times what is earned from then on. The compiler finds this
reward-to-go in the graph, as the rewards before a push do not depend on it, and takes away a baseline for each step:
the mean of what the other episodes earn from that step on.

The physics is a function that Numba compiles, and the graph calls it at every step: a simulator as a node. No
derivative passes it, and none need be.

Run it with ``python examples/cartpole.py [--updates 150] [--episodes 64] [--steps 500] [--picture cartpole.png]``. It
prints what the policy earns in Gymnasium's own environment over 100 episodes (475 counts as solved), if Gymnasium is
installed; the picture shows the return over the updates, and one episode of the learned policy.
"""

from __future__ import annotations

import argparse
import math

import numba
import numpy as np

import scg

LEAN, TRACK = 12.0 * 2.0 * math.pi / 360.0, 2.4  # at which angle and position an episode is over
START = 0.05  # all four numbers begin within so much of 0


@numba.njit
def physics(x, speed, angle, turning, push):
    """The state after 0.02 s, by Euler's rule, as Gymnasium computes it; `push` is 1 for the right, 0 for the left."""
    force = 10.0 if push > 0.5 else -10.0
    cosine, sine = math.cos(angle), math.sin(angle)
    along = (force + 0.05 * turning * turning * sine) / 1.1
    twist = (9.8 * sine - cosine * along) / (0.5 * (4.0 / 3.0 - 0.1 * cosine * cosine / 1.1))
    shift = along - 0.05 * twist * cosine / 1.1
    return x + 0.02 * speed, speed + 0.02 * shift, angle + 0.02 * turning, turning + 0.02 * twist


def declare(steps: int) -> scg.Graph:
    """An episode: its cost is minus the number of steps on which the pole stands."""
    g = scg.Graph("cartpole")
    weights, bias = g.param("weights", 4, init=0.0), g.param("bias", init=0.0)
    start = g.sample("start", scg.Uniform(-START, START), shape=4)

    def step(carry, _):
        state, standing = carry
        push = g.sample("push", scg.Bernoulli(logits=weights @ state + bias))
        g.cost("steps", -standing)
        state = g.call(physics, *state, push, shape=4)
        standing = standing * (abs(state[0]) <= TRACK) * (abs(state[2]) <= LEAN)
        return (state, standing), None

    g.scan(step, (start, 1.0), length=steps)
    return g


def act(values: dict, state: np.ndarray, rng: np.random.Generator) -> int:
    """A push of the policy."""
    return int(rng.random() < 1.0 / (1.0 + np.exp(-(values["weights"] @ state + values["bias"]))))


def in_gymnasium(values: dict, episodes: int, seed: int) -> np.ndarray | None:
    """What the policy earns in Gymnasium's environment; None if that is not installed."""
    try:
        import gymnasium
    except ImportError:
        return None
    world, rng, returns = gymnasium.make("CartPole-v1"), np.random.default_rng(seed), []
    for episode in range(episodes):
        state, _ = world.reset(seed=seed + episode)
        total, over = 0.0, False
        while not over:
            state, reward, fell, out_of_time, _ = world.step(act(values, state, rng))
            total, over = total + float(reward), fell or out_of_time
        returns.append(total)
    return np.array(returns)


def episode_of(values: dict, steps: int, seed: int) -> np.ndarray:
    """The states of an episode of our own, (steps, 4)."""
    rng = np.random.default_rng(seed)
    states = [rng.uniform(-START, START, size=4)]
    while len(states) < steps and abs(states[-1][0]) <= TRACK and abs(states[-1][2]) <= LEAN:
        states.append(np.array(physics(*states[-1], float(act(values, states[-1], rng)))))
    return np.array(states)


def picture(path: str, run: scg.optim.Fit, steps: int, seed: int) -> None:
    """Draw the learning curve, and an episode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(-np.array(run.history["cost"]))
    left.set(xlabel="update", ylabel="mean return of the episodes", ylim=(0.0, 1.05 * steps))
    states = episode_of(run.values, steps, seed)
    right.plot(states[:, 0], label="position (m)")
    right.plot(np.degrees(states[:, 2]), label="angle (degrees)", linewidth=0.7)
    right.set(xlabel="step of an episode of the learned policy")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None) -> scg.optim.Fit:
    """Learn, print what the policy earns, draw, and return the fit."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("updates", 150), ("episodes", 64), ("steps", 500), ("tries", 100), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--rate", type=float, default=0.1)
    options.add_argument("--picture", default="cartpole.png")
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    f = scg.compile(declare(given.steps), backend=given.backend, stderr=False)
    run = scg.optim.fit(f, {}, scg.optim.adam(given.rate), steps=given.updates, samples=given.episodes, rng=given.seed)
    print(f"return of the last {given.episodes} episodes: {-run.history['cost'][-1]:.1f} of {given.steps}")
    print(f"weights {np.round(run.values['weights'], 2)}, bias {float(run.values['bias']):.2f}")
    returns = in_gymnasium(run.values, given.tries, given.seed)
    if returns is None:
        print("Gymnasium is not installed: pip install gymnasium, and the policy is tried in its CartPole-v1")
    else:
        print(f"Gymnasium's CartPole-v1: mean return {returns.mean():.1f} over {len(returns)} episodes, "
              f"{'solved' if returns.mean() >= 475.0 else 'not solved'} (475)")
    if given.picture:
        picture(given.picture, run, given.steps, given.seed)
        print(f"see {given.picture}")
    return run


if __name__ == "__main__":
    main()
