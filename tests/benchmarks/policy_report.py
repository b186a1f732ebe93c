"""Time a policy's gradient: ``python tests/benchmarks/policy_report.py`` prints a markdown section."""

from __future__ import annotations

import policy
from contest import Contest, Problem
from harness import Contender

OURS = Contender("scg, stderr=False", "policy_ours", "plain")
OURS_STDERR = Contender("scg", "policy_ours", "stderr")
JAX = Contender("JAX by hand, jitted", "policy_with_jax", "jitted", "JAX")
TORCH = Contender("PyTorch by hand", "policy_with_torch", "eager", "TORCH")
TEXT = """The gradient of a policy of two parameters, by the score function: trajectories of 100 steps, each draw
weighed by the costs that follow it, less the mean of other trajectories', in float32 (`policy.py`). Nanoseconds for
each step of each trajectory, the median over {rounds} rounds, and in brackets the best; on one thread the processor's,
on more the wall's. The first call includes what is compiled, if it is not in the cache."""
CONTEST = Contest(
    "A policy's gradient", TEXT, "ns",
    {"": {size: Problem("", n, 1e9 / (n * policy.STEPS)) for size, n in policy.SAMPLES.items()}},
    (OURS, OURS_STDERR, JAX, TORCH), OURS, OURS.label)

if __name__ == "__main__":
    CONTEST.main()
