"""Contests: contenders step the same problems, and a section of the benchmarks' page says how long each takes.

Contenders run in processes of their own, in turns, as in `report.py`; see there for the peers' environments. A script
that declares a `Contest` calls its `main`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import harness
from harness import Contender, Limits, Series
from report import machine, table


@dataclass(frozen=True)
class Problem:
    """What contenders are told, and how a step's time is shown: so many of the contest's units for each second."""

    name: str
    samples: int
    scale: float


@dataclass(frozen=True)
class Contest:
    """A section: its text, its tables (of problems, by the heads of their columns), and who takes part.

    Every time is also given as a ratio to that of `base`, which heads of columns call `beside`.
    """

    title: str
    text: str  # where {rounds} stands for their number
    unit: str
    tables: dict[str, dict[str, Problem]]  # by their titles
    contenders: tuple[Contender, ...]
    base: Contender
    beside: str
    calls: int = 2  # of a round, at least
    request: float = Limits.request  # seconds of calls of a round, if a call takes less
    threads: tuple[int, ...] = (1, 2)

    def measure(self, threads: int, rounds: int, calls: int) -> dict[tuple[Contender, Problem], Series]:
        """Series of all contenders and problems."""
        workers, reasons = harness.start(self.contenders, threads)
        try:
            jobs = {(c, p): (workers.get(c, reasons.get(c, "")), c, p.name, p.samples)
                    for c in self.contenders for problems in self.tables.values() for p in problems.values()}
            return harness.take_turns(jobs, threads, rounds, calls, self.request)
        finally:
            harness.close(workers)

    def shown(self, found: dict[tuple[Contender, Problem], Series], problems: dict[str, Problem]) -> str:
        """A row for each contender, and for each problem the time of a step, its ratio to `base`, the first call."""
        rows = []
        for contender in self.contenders:
            cells = []
            for problem in problems.values():
                series, base = found[contender, problem], found[self.base, problem]
                if not series.wall:
                    cells += [series.reason or "–", "", ""]
                    continue
                ratio = harness.ratio(series, base)
                cells += [f"{problem.scale * series.median:.1f} ({problem.scale * series.best:.1f})",
                          f"{ratio[0]:.2f}" if ratio else "–", f"{series.first:.1f} s"]
            rows.append([contender.label, *cells])
        heads = [head for p in problems for head in (f"{p}, {self.unit}", f"/ {self.beside}", "first call")]
        return table(["", *heads], rows)

    def section(self, threads, rounds: int, calls: int) -> str:
        """The whole section, from its text on."""
        parts = [self.text.format(rounds=rounds)]
        for count in threads:
            found = self.measure(count, rounds, calls)
            for title, problems in self.tables.items():
                caption = f"{title}, {count} thread{'s' * (count > 1)}".removeprefix(", ")
                parts += [f"**{caption}**", self.shown(found, problems)]
        return "\n\n".join(parts)

    def main(self) -> None:
        """Measure as the command line says, and print."""
        parser = argparse.ArgumentParser(description=f"Print the section “{self.title}” of the benchmarks' page.")
        parser.add_argument("--rounds", type=int, default=Limits.rounds)
        parser.add_argument("--calls", type=int, default=self.calls, help="calls of a round, at least")
        parser.add_argument("--threads", type=int, nargs="+", default=self.threads)
        chosen = parser.parse_args()
        about = machine()
        print(f"## {self.title}\n\n{about}\n\n{self.section(chosen.threads, chosen.rounds, chosen.calls)}")
