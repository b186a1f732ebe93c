"""Time a step of each net with every contender: ``python tests/benchmarks/nets_report.py`` prints a markdown section.

The bare matrix products of a step stand beside the contenders: what remains is all that is not multiplied.
"""

from __future__ import annotations

import nets
from contest import Contest, Problem
from harness import Contender

OURS = Contender("scg, stderr=False", "nets_ours", "plain")
OURS_STDERR = Contender("scg", "nets_ours", "stderr")
PRODUCTS = Contender("the matrix products alone, by NumPy", "nets_ours", "products")
JAX = Contender("JAX by hand, jitted", "nets_with_jax", "jitted", "JAX")
TORCH = Contender("PyTorch by hand", "nets_with_torch", "eager", "TORCH")
PYRO = Contender("Pyro", "nets_with_pyro", "eager", "STORCHASTIC")
TEXT = """One step: cost and all gradients, in float32. The belief net 784-200-200 takes 100 rows with 10 samples each
and leave-one-out baselines (Pyro: its moving averages); the autoencoder 784-200-20 takes 64 rows with 4 samples each,
by the path of the sample. Milliseconds, the median over {rounds} rounds, and in brackets the best; on one thread the
processor's, on two the wall's. A round is five steps one after another at least, and 50 ms, after as many that do not
count. The first call includes what is compiled and is not in the cache: scg's was."""
CONTEST = Contest(
    "Nets", TEXT, "ms", {"": {model: Problem(model, samples, 1e3) for model, (_, samples) in nets.MODELS.items()}},
    (PRODUCTS, OURS, OURS_STDERR, JAX, TORCH, PYRO), PRODUCTS, "products", calls=5, request=0.05)

if __name__ == "__main__":
    CONTEST.main()
