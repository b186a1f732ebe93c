"""Time the gradient of a CartPole policy: ``python tests/benchmarks/cartpole_report.py`` prints a markdown section."""

from __future__ import annotations

import cartpole
from contest import Contest, Problem
from harness import Contender

OURS = Contender("scg, dynamics as nodes", "cartpole_ours", "nodes")
OURS_NJIT = Contender("scg, an njit simulator", "cartpole_ours", "njit")
OURS_STDERR = Contender("scg, dynamics as nodes, with standard errors", "cartpole_ours", "nodes stderr")
JAX = Contender("JAX by hand, jitted: a scan under vmap", "cartpole_with_jax", "differentiated", "JAX")
JAX_FORWARD = Contender("JAX by hand, jitted: sums carried forward", "cartpole_with_jax", "forward", "JAX")
TORCH = Contender("PyTorch by hand", "cartpole_with_torch", "eager", "TORCH")
TEXT = """The gradient of a CartPole policy of five parameters, by the score function: 9,984 episodes of at most 100
steps, each push weighed by what is earned after it, less the mean of what other episodes earn then, in float32
(`cartpole.py`). Steps go on after the end of an episode and earn nothing, or episodes end (`until=` in scg, a mask of
rewards and scores elsewhere). scg has the dynamics as nodes of the graph, or as a function that Numba compiled
(`examples/cartpole.py`), and no standard errors but where said. Nanoseconds for each of the 100 steps of each
episode, made or not: the median over {rounds} rounds, and in brackets the best; on one thread the processor's, on more
the wall's. The first call includes what is compiled, if it is not in the cache (JAX has none). That all estimate the
same is a test (`test_cartpole.py`)."""


def problem(policy: str, ending: str) -> Problem:
    """As the contest has it."""
    return Problem(cartpole.problem(policy, ending), cartpole.EPISODES, 1e9 / (cartpole.EPISODES * cartpole.STEPS))


CONTEST = Contest(
    "CartPole", TEXT, "ns",
    {policy: {ending: problem(policy, ending) for ending in cartpole.ENDINGS} for policy in cartpole.POLICIES},
    (OURS, OURS_NJIT, OURS_STDERR, JAX, JAX_FORWARD, TORCH), OURS, "nodes", threads=(1,))

if __name__ == "__main__":
    CONTEST.main()
