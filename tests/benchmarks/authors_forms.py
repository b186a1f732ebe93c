"""Time estimators beside their authors' own forms: ``python tests/benchmarks/authors_forms.py`` prints a section.

ARM, DisARM, REBAR and RELAX on the toy and on a belief net, by scg, by hand in PyTorch as the authors wrote them, by
hand in jitted JAX, and by Storchastic. Contenders run in processes of their own, in turns, as in `report.py`; see there
for the peers' environments.
"""

from __future__ import annotations

import argparse

import forms
import harness
from harness import Contender, Limits, Series
from report import machine, table

OURS = Contender("scg, stderr=False", "forms_ours", "")
OURS_STDERR = Contender("scg", "forms_ours", " stderr")
JAX = Contender("JAX by hand, jitted", "forms_with_jax", "", "JAX")
TORCH = Contender("PyTorch by hand", "forms_with_torch", "", "TORCH")
STORCHASTIC = Contender("Storchastic", "forms_with_storchastic", "", "STORCHASTIC")
CONTENDERS = (OURS, OURS_STDERR, JAX, TORCH, STORCHASTIC)
TEXT = """A step gives the cost, the gradients of all params, and those of what the control variates learn by, in
float32. Toy: the problem at the top of this page, 9,984 samples; REBAR and RELAX learn a weight and a temperature.
Belief net: 784-200-200, 100 rows with 10 samples each, all layers by the estimator; weight and temperature are fixed.
RELAX learns a net of 10 hidden units for each layer. Milliseconds, the median over {rounds} rounds, and in
brackets the ratio to scg's step with ``stderr=False`` (median of the ratios within a round); on one thread the
processor's, on two the wall's. That all estimate the same is a test (`test_authors_forms.py`). Storchastic is on the
toy only; where it raises an error there, that is in its place."""


def measure(model: str, threads: int, rounds: int) -> dict[tuple[Contender, str], Series]:
    """Series of all contenders and estimators."""
    contenders = [c for c in CONTENDERS if c is not STORCHASTIC or model == "toy"]
    workers, reasons = harness.start(contenders, threads)
    try:
        jobs = {(c, e): (workers.get(c, reasons.get(c, "")), asked(c, e), model, forms.MODELS[model])
                for c in contenders for e in forms.ESTIMATORS}
        return harness.take_turns(jobs, threads, rounds, calls=2)
    finally:
        harness.close(workers)


def asked(contender: Contender, estimator: str, what: str = "") -> Contender:
    """A contender's variant."""
    return Contender(contender.label, contender.program, f"{estimator}{what or contender.variant}", contender.peer)


def shown(found: dict[tuple[Contender, str], Series]) -> str:
    """A row for each contender, a column for each estimator."""
    rows = []
    for contender in dict.fromkeys(c for c, _ in found):
        cells = []
        for estimator in forms.ESTIMATORS:
            series = found[contender, estimator]
            ratio = harness.ratio(series, found[OURS, estimator])
            number = f"{1e3 * series.median:.3g}" if series.wall else series.reason.partition(":")[0]
            cells.append(f"{number} ({ratio[0]:.2f})" if ratio else number)
        rows.append([contender.label, *cells])
    return table(["", *forms.ESTIMATORS], rows)


def section(threads, rounds: int) -> str:
    """The whole section."""
    parts = [TEXT.format(rounds=rounds)]
    for count in threads:
        for model in forms.MODELS:
            parts += [f"**{model}, {count} thread{'s' * (count > 1)}**", shown(measure(model, count, rounds))]
    return "\n\n".join(parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=Limits.rounds)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    about = machine()
    print(f"## Estimators beside their authors' forms\n\n{about}\n\n{section(chosen.threads, chosen.rounds)}")


if __name__ == "__main__":
    main()
