"""Run every contender on this machine and print the tables as markdown: ``python tests/benchmarks/report.py``.

Peers run in environments of their own (`make_peers.sh`), named by SCG_BENCH_TORCH, SCG_BENCH_JAX and
SCG_BENCH_STORCHASTIC; one that is not there is reported as missing. Targets stand beside what was measured; nothing is
asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import toy
from harness import CONTENDERS, HAND, HAND_PLAIN, JAX, JAX_64, JAX_SCAN, OURS, SCG, SCG_PLAIN, Limits, Series, ratio

TITLES = {"loo": "score function, leave-one-out groups of 64", "none": "score function, no baseline"}


def table(head, rows) -> str:
    """A markdown table; all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def power(samples: int) -> str:
    """A number of samples, short."""
    return f"{samples:.0e}".replace("e+0", "e") if samples >= 1_000_000 else f"{samples:,}"


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


# --- machine ----------------------------------------------------------------------------------------------------------
def machine() -> str:
    """Processor, system and Python."""
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    free = harness.free_bytes() / 2**30
    return (f"{models[0] if models else platform.processor()}, {len(os.sched_getaffinity(0))} processors, {free:.0f} GiB "
            f"of memory free; {platform.system()}, Python {platform.python_version()}; load average "
            f"{os.getloadavg()[0]:.1f} at the start.")


def contender_table(results: dict[int, dict]) -> str:
    """Versions and threads of every program, or why it is missing."""
    rows, seen = [], set()
    for contender in CONTENDERS:
        if contender.program in seen:
            continue
        seen.add(contender.program)
        label = contender.label.split(",")[0]
        why = [r["missing"].get(contender, "") for r in results.values()]
        if any(why):
            rows.append([label, next(w for w in why if w), "", ""])
            continue
        infos = [r["info"][contender]["info"] for r in results.values()]
        rows.append([label, infos[0]["versions"], infos[0]["dtype"], "; ".join(i["threads"] for i in infos)])
    return table(["contender", "versions", "numbers", "threads (one table each)"], rows)


# --- speed ------------------------------------------------------------------------------------------------------------
def cell(series: Series | None, samples: int) -> str:
    """Nanoseconds per sample, or why not."""
    if series is None:
        return ""
    if not series.wall:
        return series.reason
    return f"{series.median / samples * 1e9:.3g}" if samples > toy.GROUP else f"{series.median * 1e6:.1f} µs"


def speed_table(result: dict, baseline: str) -> str:
    """A row for each contender, a column for each size."""
    sizes = [n for b, n in result["tables"] if b == baseline]
    rows = []
    for contender in CONTENDERS:
        if baseline not in contender.baselines:
            continue
        if contender in result["missing"]:
            rows.append([contender.label, result["missing"][contender], *[""] * (len(sizes) - 1)])
            continue
        rows.append([contender.label, *(cell(result["tables"][baseline, n].get(contender), n) for n in sizes)])
    return table(["ns per sample", *("a call of 64" if n == toy.GROUP else power(n) for n in sizes)], rows)


def fastest(tables: dict, contenders) -> Series | None:
    """The series of the fastest of some contenders."""
    known = [tables[c] for c in contenders if c in tables and tables[c].wall]
    return min(known, key=lambda s: s.median) if known else None


def ratio_table(result: dict, baseline: str) -> str:
    """Ours against the hand-written kernel and JAX, at every size: medians over rounds, and of the best times."""
    rows = []
    for title, a, others in (
        ("scg / hand-written, with moments (target ≤ 1.25)", SCG, (HAND,)),
        ("scg, stderr=False / hand-written, means only (target ≤ 1.25)", SCG_PLAIN, (HAND_PLAIN,)),
        ("fastest JAX / scg (target ≥ 10)", (JAX, JAX_SCAN, JAX_64), (SCG,)),
        ("fastest JAX / scg, stderr=False (target ≥ 10)", (JAX, JAX_SCAN, JAX_64), (SCG_PLAIN,)),
    ):
        cells = []
        for (b, _), tables in result["tables"].items():
            if b == baseline:
                pair = [fastest(tables, x if isinstance(x, tuple) else (x,)) for x in (a, others)]
                found = ratio(*pair) if all(pair) else None
                cells.append(f"{found[0]:.2f} ({found[1]:.2f})" if found else "–")
        rows.append([title, *cells])
    sizes = [power(n) for b, n in result["tables"] if b == baseline]
    return table(["ratio: median over rounds (of the best times)", *sizes], rows)


def disturbance(result: dict) -> str:
    """How much of the time threads waited for a processor that others had."""
    waits = [w for tables in result["tables"].values() for s in tables.values() for w in s.waited]
    worst = max(waits, default=0.0)
    return (f"Threads waited for a processor during {statistics.median(waits) if waits else 0:.1%} of the time "
            f"(median), {worst:.0%} at worst.")


# --- starts -----------------------------------------------------------------------------------------------------------
def start(cache: str, helpers: str | None) -> dict:
    """One fresh process of the toy; `helpers` is where Numba caches, or None for where it does by itself."""
    env = {**harness.environment(SCG), "SCG_CACHE_DIR": cache}
    env.pop("NUMBA_CACHE_DIR", None)
    if helpers:
        env["NUMBA_CACHE_DIR"] = helpers
    done = subprocess.run([sys.executable, str(harness.HERE / "fresh.py")], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["wall"]


def start_table(repeats: int) -> str:
    """Cold and second processes; with the package's own helpers in Numba's cache, and without."""
    cases: dict[str, list[dict]] = {}
    start(tempfile.mkdtemp(prefix="scg-bench-"), None)  # the helpers are cached now
    for _ in range(repeats):
        cache = tempfile.mkdtemp(prefix="scg-bench-")
        cases.setdefault("cold, helpers of the package cached", []).append(start(cache, None))
        cases.setdefault("second process", []).append(start(cache, None))
    cache = tempfile.mkdtemp(prefix="scg-bench-")
    cases["cold, nothing cached at all (first run after installation)"] = [start(cache, cache)]
    rows = []
    for name, target in (("cold, helpers of the package cached", "< 2.5"), ("second process", "< 0.3"),
                         ("cold, nothing cached at all (first run after installation)", "")):
        walls = cases[name]
        middle = {k: statistics.median(w[k] for w in walls) for k in walls[0]}
        rows.append([name, f"{middle['compile'] + middle['first']:.2f}", target, f"{middle['compile']:.3f}",
                     f"{middle['first']:.2f}", f"{middle['import']:.2f}"])
    return table(["seconds, median", "beyond imports", "target", "`scg.compile`", "first call", "imports"], rows)


# --- memory -----------------------------------------------------------------------------------------------------------
def peak(contender, threads: int, samples: int, baseline: str) -> int:
    """Peak resident bytes of a fresh process that does this and nothing else."""
    with harness.Worker(contender, threads) as worker:
        reply = worker.ask(contender, baseline, samples)
    return reply.get("peak", 0)


def memory_table(sizes) -> str:
    """Peak memory of ours at a small and a large size."""
    rows = []
    for baseline in toy.BASELINES:
        for threads in (1, 2):
            peaks = [peak(SCG, threads, n, baseline) for n in sizes]
            growth = f"{peaks[-1] / peaks[0] - 1:+.1%}"
            rows.append([f"{TITLES[baseline]}, {threads} worker{'s' * (threads > 1)}",
                         *(f"{p / 2**20:.1f}" for p in peaks), growth, "within 5 %"])
    return table(["MiB, peak of a fresh process", *map(power, sizes), "growth", "target"], rows)


# --- all of it --------------------------------------------------------------------------------------------------------
def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each problem")
    parser.add_argument("--call", type=float, default=20.0, help="the longest call, in seconds; larger sizes are left out")
    parser.add_argument("--largest", type=float, default=1e9, help="the largest number of samples")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--starts", type=int, default=5, help="how many cold and warm starts")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    return parser.parse_args()


def section(title: str, *parts: str) -> None:
    """Print as soon as it is known."""
    print(f"\n## {title}\n", *(f"{part}\n" for part in parts), sep="\n", flush=True)


def main() -> None:
    """Measure and print."""
    chosen = options()
    sizes = [n for n in toy.SIZES if n <= chosen.largest]
    limits = Limits(rounds=chosen.rounds, call=chosen.call)
    about, results = machine(), {}
    for threads in chosen.threads:
        say(f"speed on {threads} thread(s)")
        contenders = OURS if chosen.ours else CONTENDERS
        results[threads] = harness.everything(threads, sizes, toy.BASELINES, contenders, limits, say)
    print(f"{about}\n\n{contender_table(results)}")
    for threads, result in results.items():
        parts = [part for b in toy.BASELINES for part in (f"**{TITLES[b]}**", speed_table(result, b), ratio_table(result, b))]
        section(f"{threads} thread{'s' * (threads > 1)}", *parts, disturbance(result))
    say("starts")
    section("Starts", start_table(chosen.starts))
    say("memory")
    section("Memory", memory_table([n for n in (sizes[-1] // 1000, sizes[-1])]))


if __name__ == "__main__":
    main()
