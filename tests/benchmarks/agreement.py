"""That contenders estimate the same: what they find in some calls, and the test of two of them."""

import statistics

import harness


def estimates(worker: harness.Worker, contender: harness.Contender, problem: str, samples: int, calls: int = 40):
    """Costs and projected gradients of some calls."""
    replies = [worker.ask(contender, problem, samples, 1, seed) for seed in range(calls)]
    assert not any("error" in reply for reply in replies), replies[0]
    return [r["cost"] for r in replies], [r["grad"] for r in replies]


def assert_agree(ours, theirs) -> None:
    """The same means of cost and gradient, within five standard errors of their difference."""
    for a, b in zip(ours, theirs, strict=True):
        error = ((statistics.variance(a) + statistics.variance(b)) / len(a)) ** 0.5
        assert abs(statistics.mean(a) - statistics.mean(b)) < 5.0 * error
