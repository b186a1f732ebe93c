"""The toy for pytest-benchmark: ``pytest tests/benchmarks/bench_toy.py`` (extra ``bench``; not among the tests).

Each contender runs in a process of its own, which also holds the watch: the clock below advances by what it says, so
that pipes are not timed. `report.py` times contenders in turns, and is the one to compare them by.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
import toy

SIZES = (toy.GROUP, 1_000_000)


class Clock:
    """Seconds that contenders have spent."""

    __name__ = "contender"
    now = 0.0

    def __call__(self) -> float:
        return self.now


clock = Clock()


@pytest.fixture(scope="module")
def workers():
    """A process for each program, started when first asked for."""
    started: dict[tuple[str, int], harness.Worker] = {}
    yield started
    for worker in started.values():
        worker.close()


@pytest.mark.benchmark(timer=clock)
@pytest.mark.parametrize("threads", (1, 2))
@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("baseline", toy.BASELINES)
@pytest.mark.parametrize("contender", harness.CONTENDERS, ids=lambda c: c.label)
def test_toy(benchmark, workers, contender, baseline, samples, threads):
    reason = harness.missing(contender)
    if reason or baseline not in contender.baselines:
        pytest.skip(reason or "no such variant")
    key = (contender.program, threads)
    if key not in workers:
        workers[key] = harness.Worker(contender, threads)
    worker = workers[key]
    reply = worker.ask(contender, baseline, samples)
    if "error" in reply:
        pytest.fail(f"{worker.started.get('error', '')} {reply['error']}", pytrace=False)
    assert max(map(abs, toy.z_scores(reply["cost"], reply["grad"], samples, baseline))) < 5.0
    calls = max(1, min(2_000, int(0.02 / max(reply["wall"], 1e-9))))

    def ask():
        clock.now += worker.ask(contender, baseline, samples, calls)["wall"]

    benchmark.group = f"{baseline}, {samples:,} samples, {threads} thread{'s' * (threads > 1)}"
    benchmark.extra_info |= {"samples": samples, "threads": threads}
    benchmark.pedantic(ask, rounds=7, iterations=1, warmup_rounds=1)
