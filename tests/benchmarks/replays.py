"""Time estimators that replay a layer draw by draw: ``python tests/benchmarks/replays.py`` prints a markdown section.

One step on a net 784-200-200 below 784 outputs, by turns in one process, beside that of the score function.
"""

from __future__ import annotations

import argparse

import harness
from harness import Contender, Limits
from report import machine, table

ESTIMATORS = ("ScoreFunction", "LocalExpectation", "WeakDerivative", "PSA", "PSA both")
SAMPLES = (1, 10)  # of each of 100 rows
TEXT = """One step on a net of two layers of 200 binary units between 784 inputs and 784 outputs, 100 rows, float32, one
thread, ``stderr=False``. The estimator is the second layer's, whose every draw is replayed: 200 changes of all outputs
for each replicate. The first layer has the score function; in the last line both have PSA. Processor milliseconds, the
median over {rounds} rounds, and the ratio to the score function's step."""


def section(rounds: int) -> str:
    """The whole section."""
    ours = Contender("scg", "replays_ours", "")
    workers, reasons = harness.start([ours], 1)
    try:
        jobs = {(e, n): (workers.get(ours, reasons.get(ours, "")), Contender("scg", "replays_ours", e), "layers", n)
                for e in ESTIMATORS for n in SAMPLES}
        found = harness.take_turns(jobs, 1, rounds, calls=2)
    finally:
        harness.close(workers)
    rows = []
    for estimator in ESTIMATORS:
        cells = []
        for n in SAMPLES:
            series, ratio = found[estimator, n], harness.ratio(found[estimator, n], found["ScoreFunction", n])
            cells += [f"{1e3 * series.median:.1f}", f"{ratio[0]:.2f}"] if ratio else [series.reason, ""]
        rows.append([estimator.replace(" both", ", both layers"), *cells])
    heads = [head for n in SAMPLES for head in (f"{n} sample{'s' * (n > 1)}, ms", "/ score")]
    return f"{TEXT.format(rounds=rounds)}\n\n{table(['', *heads], rows)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=Limits.rounds)
    about = machine()
    print(f"## Replays\n\n{about}\n\n{section(parser.parse_args().rounds)}")


if __name__ == "__main__":
    main()
