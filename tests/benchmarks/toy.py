"""The problem every contender solves, and what is known of it exactly. Standard library only: peers import it too.

Minimise E[(b − 0.45)²] over θ, with b ~ Bernoulli(logits=θ). The estimator is the score function, with the mean of the
other costs in a group of 64 as its baseline (``baseline="loo"``) or with none (``baseline="none"``).
"""

import math

THETA = 0.3
TARGET = 0.45
GROUP = 64
SIZES = (64, 9_984, 1_000_000, 100_000_000, 1_000_000_000)  # multiples of the group, so that all do the same work
BASELINES = ("loo", "none")

P = 1.0 / (1.0 + math.exp(-THETA))
EXACT_COST = P * (1.0 - TARGET) ** 2 + (1.0 - P) * TARGET**2
EXACT_GRAD = (1.0 - 2.0 * TARGET) * P * (1.0 - P)


def group_means(ones: int) -> tuple[float, float]:
    """Mean cost and mean leave-one-out gradient of a group with so many ones: they depend on nothing else."""
    costs = [(1.0 - TARGET) ** 2] * ones + [TARGET**2] * (GROUP - ones)
    scores = [1.0 - P] * ones + [-P] * (GROUP - ones)
    total = sum(costs)
    signals = [c - (total - c) / (GROUP - 1) for c in costs]
    return total / GROUP, sum(a * s for a, s in zip(signals, scores)) / GROUP


def _variance(weighted) -> float:
    """Variance of a number from pairs of probability and value."""
    weighted = list(weighted)
    mean = sum(w * x for w, x in weighted)
    return sum(w * (x - mean) ** 2 for w, x in weighted)


def standard_errors(samples: int, baseline: str) -> tuple[float, float]:
    """Exact standard deviations of the estimated cost and gradient of so many samples."""
    cost = _variance([(P, (1.0 - TARGET) ** 2), (1.0 - P, TARGET**2)]) / samples
    if baseline == "none":
        grad = _variance([(P, (1.0 - TARGET) ** 2 * (1.0 - P)), (1.0 - P, -(TARGET**2) * P)]) / samples
    else:
        binomial = [math.comb(GROUP, k) * P**k * (1.0 - P) ** (GROUP - k) for k in range(GROUP + 1)]
        grad = _variance((w, group_means(k)[1]) for k, w in enumerate(binomial)) / (samples // GROUP)
    return math.sqrt(cost), math.sqrt(grad)


def z_scores(cost: float, grad: float, samples: int, baseline: str) -> tuple[float, float]:
    """How many standard errors an estimate lies from the exact cost and gradient."""
    cost_error, grad_error = standard_errors(samples, baseline)
    return (cost - EXACT_COST) / cost_error, (grad - EXACT_GRAD) / grad_error
