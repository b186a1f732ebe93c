"""Time a policy's gradient: ``python tests/benchmarks/policy_report.py`` prints a markdown section.

Contenders run in processes of their own, in turns, as in `report.py`; see there for the peers' environments.
"""

from __future__ import annotations

import argparse

import harness
import policy
from harness import Contender, Limits, Series
from report import machine, table

OURS = Contender("scg, stderr=False", "policy_ours", "plain")
OURS_STDERR = Contender("scg", "policy_ours", "stderr")
JAX = Contender("JAX by hand, jitted", "policy_with_jax", "jitted", "JAX")
TORCH = Contender("PyTorch by hand", "policy_with_torch", "eager", "TORCH")
CONTENDERS = (OURS, OURS_STDERR, JAX, TORCH)
TEXT = """The gradient of a policy of two parameters, by the score function: trajectories of 100 steps, each draw
weighed by the costs that follow it, less the mean of other trajectories', in float32 (`policy.py`). Nanoseconds for
each step of each trajectory, the median over {rounds} rounds, and in brackets the best; on one thread the processor's,
on more the wall's. The first call includes what is compiled, if it is not in the cache."""


def measure(threads: int, rounds: int, calls: int) -> dict[tuple[Contender, str], Series]:
    """Series of all contenders and sizes."""
    workers, reasons = harness.start(CONTENDERS, threads)
    try:
        jobs = {(c, size): (workers.get(c, reasons.get(c, "")), c, "", samples)
                for c in CONTENDERS for size, samples in policy.SAMPLES.items()}
        return harness.take_turns(jobs, threads, rounds, calls)
    finally:
        harness.close(workers)


def shown(found: dict[tuple[Contender, str], Series]) -> str:
    """A row for each contender, and for each size the time of a step, how many times ours it is, and the first call."""
    rows = []
    for contender in CONTENDERS:
        cells = []
        for size, samples in policy.SAMPLES.items():
            series, ours = found[contender, size], found[OURS, size]
            if not series.wall:
                cells += [series.reason or "–", "", ""]
                continue
            unit, ratio = 1e9 / (samples * policy.STEPS), harness.ratio(series, ours)
            cells += [f"{unit * series.median:.1f} ({unit * series.best:.1f})", f"{ratio[0]:.1f}" if ratio else "–",
                      f"{series.first:.1f} s"]
        rows.append([contender.label, *cells])
    heads = [head for size in policy.SAMPLES for head in (f"{size}, ns", "/ scg, stderr=False", "first call")]
    return table(["", *heads], rows)


def section(threads, rounds: int, calls: int) -> str:
    """The whole section."""
    parts = [TEXT.format(rounds=rounds)]
    for count in threads:
        parts += [f"**{count} thread{'s' * (count > 1)}**", shown(measure(count, rounds, calls))]
    return "\n\n".join(parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=Limits.rounds)
    parser.add_argument("--calls", type=int, default=2, help="calls of a round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    about = machine()
    print(f"## A policy's gradient\n\n{about}\n\n{section(chosen.threads, chosen.rounds, chosen.calls)}")


if __name__ == "__main__":
    main()
