"""Time a step of each net with every contender: ``python tests/benchmarks/nets_report.py`` prints a markdown section.

Contenders run in processes of their own, in turns, as in `report.py`; see there for the peers' environments. The bare
matrix products of a step stand beside them: what remains is all that is not multiplied.
"""

from __future__ import annotations

import argparse

import harness
import nets
from harness import Contender, Limits, Series
from report import machine, table

OURS = Contender("scg, stderr=False", "nets_ours", "plain")
OURS_STDERR = Contender("scg", "nets_ours", "stderr")
PRODUCTS = Contender("the matrix products alone, by NumPy", "nets_ours", "products")
JAX = Contender("JAX by hand, jitted", "nets_with_jax", "jitted", "JAX")
TORCH = Contender("PyTorch by hand", "nets_with_torch", "eager", "TORCH")
PYRO = Contender("Pyro", "nets_with_pyro", "eager", "STORCHASTIC")
CONTENDERS = (PRODUCTS, OURS, OURS_STDERR, JAX, TORCH, PYRO)
TEXT = """One step: cost and all gradients, in float32. The belief net 784-200-200 takes 100 rows with 10 samples each
and leave-one-out baselines (Pyro: its moving averages); the autoencoder 784-200-20 takes 64 rows with 4 samples each,
by the path of the sample. Milliseconds, the median over {rounds} rounds, and in brackets the best; on one thread the
processor's, on two the wall's. The first call includes what is compiled."""


def measure(threads: int, rounds: int, calls: int) -> dict[tuple[Contender, str], Series]:
    """Series of all contenders and nets."""
    workers, reasons = harness.start(CONTENDERS, threads)
    try:
        jobs = {(c, m): (workers.get(c, reasons.get(c, "")), c, m, nets.MODELS[m][1])
                for c in CONTENDERS for m in nets.MODELS}
        return harness.take_turns(jobs, threads, rounds, calls, request=0.0)
    finally:
        harness.close(workers)


def shown(found: dict[tuple[Contender, str], Series]) -> str:
    """A row for each contender, and for each net the time of a step, its ratio to the products, and the first call."""
    rows = []
    for contender in CONTENDERS:
        cells = []
        for model in nets.MODELS:
            series, products = found[contender, model], found[PRODUCTS, model]
            if not series.wall:
                cells += [series.reason or "–", "", ""]
                continue
            ratio = harness.ratio(series, products)
            cells += [f"{1e3 * series.median:.1f} ({1e3 * series.best:.1f})", f"{ratio[0]:.2f}" if ratio else "–",
                      f"{series.first:.1f} s" if contender is not PRODUCTS else ""]
        rows.append([contender.label, *cells])
    heads = [head for model in nets.MODELS for head in (f"{model}, ms", "/ products", "first call")]
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
    parser.add_argument("--calls", type=int, default=5, help="calls of a round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    about = machine()
    print(f"## Nets\n\n{about}\n\n{section(chosen.threads, chosen.rounds, chosen.calls)}")


if __name__ == "__main__":
    main()
