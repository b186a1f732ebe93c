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
import shutil
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
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    vectors = "AVX-512" if "avx512f" in facts.get("flags", "") else "AVX2" if "avx2" in facts.get("flags", "") else ""
    return (f"{facts.get('model name', platform.processor())} (family {facts.get('cpu family', '?')}, model "
            f"{facts.get('model', '?')}; {vectors or 'neither AVX2 nor AVX-512'}), {len(os.sched_getaffinity(0))} "
            f"processors, {harness.free_bytes() / 2**30:.0f} GiB of memory free; {platform.system()}, Python "
            f"{platform.python_version()}; load average {os.getloadavg()[0]:.1f} at the start.")


def contender_table(results: dict[int, dict]) -> str:
    """Versions and threads of every program, or why it is missing."""
    rows, seen = [], set()
    for contender in CONTENDERS:
        if contender.program in seen:
            continue
        seen.add(contender.program)
        label = contender.label.split(",")[0]
        why = [r["missing"].get(contender, "" if contender in r["info"] else "left out") for r in results.values()]
        if any(why):
            rows.append([label, next(w for w in why if w), "", ""])
            continue
        infos = [r["info"][contender]["info"] for r in results.values()]
        rows.append([label, infos[0]["versions"], infos[0]["dtype"], "; ".join(i["threads"] for i in infos)])
    return table(["contender", "versions", "numbers", "threads (one table each)"], rows)


# --- speed ------------------------------------------------------------------------------------------------------------
def cell(series: Series | None, samples: int) -> str:
    """Median and best: nanoseconds per sample (microseconds of a small call); or why not."""
    if series is None:
        return ""
    if not series.wall:
        return series.reason
    unit, mark = (1e6, " µs") if samples == toy.GROUP else (1e9 / samples, "")
    return f"{series.median * unit:.3g}{mark} ({series.best * unit:.3g})"


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
    heads = ("a call of 64" if n == toy.GROUP else power(n) for n in sizes)
    return table(["ns per sample: median (best)", *heads], rows)


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
PHASES = ("import", "compile", "first")


def start(cache: str, *kept: str) -> dict[str, float]:
    """One fresh process of the toy; of what it makes, it keeps all, or ``helpers`` only."""
    env = {**harness.environment(SCG), "SCG_CACHE_DIR": cache}
    command = [sys.executable, str(harness.HERE / "fresh.py"), *kept]
    done = json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    return {f"{clock} {phase}": done[clock][phase] for clock in ("wall", "cpu") for phase in PHASES}


def starts(repeats: int) -> dict[str, dict[str, float]]:
    """Medians of cold starts and of second processes, in seconds."""
    cases: dict[str, list[dict]] = {}

    def run(case: str, cache: str) -> None:
        cases.setdefault(case, []).append(start(cache))

    with tempfile.TemporaryDirectory(prefix="scg-bench-") as folder:
        start(f"{folder}/helpers", "helpers")
        for i in range(repeats):
            say(f"start {i + 1} of {repeats}")
            shutil.copytree(f"{folder}/helpers", f"{folder}/{i}")
            run("cold, helpers of the package cached", f"{folder}/{i}")
            run("second process", f"{folder}/{i}")
            run("cold, nothing cached at all (first run after installation)", f"{folder}/n{i}")
    return {case: {k: statistics.median(f[k] for f in found) for k in found[0]} for case, found in cases.items()}


def start_table(found: dict[str, dict[str, float]]) -> str:
    """What starting costs: wall seconds, and (the processor's)."""
    rows = []
    for case, seconds in found.items():
        cells = [f"{seconds[f'wall {p}']:.3g} ({seconds[f'cpu {p}']:.3g})" for p in ("compile", "first", "import")]
        beyond = [seconds[f"{clock} compile"] + seconds[f"{clock} first"] for clock in ("wall", "cpu")]
        rows.append([case, f"{beyond[0]:.3g} ({beyond[1]:.3g})", *cells])
    head = ["seconds, median (of the processor)", "beyond imports", "`scg.compile`", "first call", "imports"]
    return table(head, rows)


def first_table(result: dict) -> str:
    """What starting costs the others, in their long-lived processes."""
    rows = []
    for contender in harness.PEERS:
        series = result["tables"].get(("loo", toy.GROUP), {}).get(contender)
        if contender in result["info"] and series and series.first is not None:
            rows.append([contender.label, f"{result['info'][contender]['import']:.2f}", f"{series.first:.2f}"])
    return table(["seconds", "import", "first call of 64 samples, with its compilation"], rows) if rows else ""


# --- memory -----------------------------------------------------------------------------------------------------------
def peak(contender, threads: int, samples: int, baseline: str) -> dict:
    """What a fresh process that makes one call, and nothing else, says of it."""
    with harness.Worker(contender, threads) as worker:
        return worker.ask(contender, baseline, samples, calls=0)


def memory(sizes) -> dict[tuple[str, int], list[int]]:
    """Peak resident bytes of ours, by baseline and number of workers."""
    cases = [(baseline, threads) for baseline in toy.BASELINES for threads in (1, 2)]
    for baseline in toy.BASELINES:
        peak(SCG, 1, toy.GROUP, baseline)  # so that none of the processes below compiles
    return {case: [peak(SCG, case[1], n, case[0])["peak"] for n in sizes] for case in cases}


def memory_table(found: dict, sizes) -> str:
    """Peak memory of ours at a small and a large size."""
    rows = [[f"{TITLES[baseline]}, {threads} worker{'s' * (threads > 1)}", *(f"{p / 2**20:.1f}" for p in peaks),
             f"{peaks[-1] / peaks[0] - 1:+.1%}"] for (baseline, threads), peaks in found.items()]
    return table(["MiB, peak of a fresh process", *map(power, sizes), "growth"], rows)


def peers_memory_table(contenders, limits: Limits) -> str:
    """Peak memory of the others, on one thread, for leave-one-out."""
    sizes, rows = (toy.GROUP, 1_000_000, 100_000_000), []
    for contender in contenders:
        if harness.missing(contender) or contender == harness.TORCH_COMPILED:
            continue
        foresight, cells, least = harness.Foresight(limits), [], 0
        for samples in sizes:
            reply = {"error": foresight.objection(contender, "loo", samples)}
            if not reply["error"]:
                say(f"memory of {contender.label}, {samples}")
                reply = peak(contender, 1, samples, "loo")
            if "peak" in reply:
                least = least or reply["peak"]
                foresight.learn(contender, "loo", samples, reply["first"], reply["peak"] - least)
            cells.append(f"{reply['peak'] / 2**20:.0f}" if "peak" in reply else reply["error"])
        rows.append([contender.label, *cells])
    return table(["MiB, peak of a fresh process", *map(power, sizes)], rows) if rows else ""


# --- where the time goes ----------------------------------------------------------------------------------------------
def anatomy(baseline: str, variant: str) -> dict:
    """What `anatomy.py` finds of a variant of ours."""
    say(f"anatomy of {baseline}, {variant}")
    command = [sys.executable, str(harness.HERE / "anatomy.py"), baseline, variant, "--json"]
    done = subprocess.run(command, env=harness.environment(SCG), capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed"])[-1]}
    return json.loads(done.stdout)


def anatomy_text(baseline: str, variant: str, found: dict) -> str:
    """The same, to read."""
    title = f"**{TITLES[baseline]}, {'with' if variant == 'stderr' else 'without'} standard errors**"
    if "error" in found:
        return f"{title}: {found['error']}"
    rows = [[f"{name}, µs", f"{x:.2f}"] for name, x in found["call"]]
    rows += [[f"kernel: {name}, ns a sample", f"{x:.3f}"] for name, x in found["kernel"]]
    passes = ", ".join(f"{count} × {what}" for what, count in found["passes"].items())
    return f"{title}; passes over the lanes of a tile: {passes}\n\n{table(['', ''], rows)}"


# --- targets ----------------------------------------------------------------------------------------------------------
def speed_targets(result: dict) -> list[list[str]]:
    """Against the hand-written kernels and JAX, at the largest size up to 1e8 (JAX: 1e6) on one thread."""
    rows = []
    large = max(n for _, n in result["tables"] if n <= 100_000_000)
    for b in toy.BASELINES:
        for a, other, limit, n in ((SCG, HAND, "≤ 1.25", large), (SCG_PLAIN, HAND_PLAIN, "≤ 1.25", large),
                                   (JAX, SCG_PLAIN, "≥ 10", 1_000_000), (JAX_64, SCG_PLAIN, "≥ 10", 1_000_000)):
            tables = result["tables"].get((b, n), {})
            found = ratio(tables[a], tables[other]) if a in tables and other in tables else None
            if found:
                met = found[0] <= 1.25 if limit == "≤ 1.25" else found[0] >= 10.0
                title = f"{a.label} / {other.label}; {b}, {power(n)}"
                rows.append([title, limit, f"{found[0]:.2f}", "yes" if met else "no"])
    return rows


def call_targets(result: dict, parts: dict) -> list[list[str]]:
    """Calls of 64 samples: alone, and with everything read that the contender reads."""
    small = result["tables"]["loo", toy.GROUP][SCG]
    found = [("its cost, gradient and standard error read as floats", small.median * 1e6)] if small.wall else []
    if "call" in parts["loo", "stderr"]:
        found.insert(0, ("nothing read", parts["loo", "stderr"]["call"][0][1]))
    return [[f"a call of 64 samples, {title}", "< 15 µs", f"{x:.1f} µs", "yes" if x < 15 else "no"]
            for title, x in found]


def targets(result: dict, started: dict, used: dict, parts: dict) -> str:
    """The project's targets and what was measured; nothing depends on them."""
    rows = speed_targets(result) + call_targets(result, parts)
    for case, limit in (("cold, helpers of the package cached", 2.5),
                        ("cold, nothing cached at all (first run after installation)", 2.5), ("second process", 0.3)):
        seconds = started[case]["cpu compile"] + started[case]["cpu first"]
        rows.append([f"{case}, beyond imports", f"< {limit} s", f"{seconds:.2f} s", "yes" if seconds < limit else "no"])
    growth = max(peaks[-1] / peaks[0] - 1 for peaks in used.values())
    rows.append(["growth of memory with samples, largest", "≤ 5 %", f"{growth:.1%}", "yes" if growth <= 0.05 else "no"])
    return table(["", "target", "measured", "met"], rows)


# --- all of it --------------------------------------------------------------------------------------------------------
def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each problem")
    parser.add_argument("--call", type=float, default=20.0, help="the longest call (s); larger sizes are left out")
    parser.add_argument("--largest", type=float, default=1e9, help="the largest number of samples")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--starts", type=int, default=5, help="how many cold and warm starts")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    return parser.parse_args()


INTRODUCTION = """# Benchmarks

Minimise E[(b − 0.45)²] over θ, b ~ Bernoulli(logits=θ): mean cost and gradient by the score function, with a
leave-one-out baseline in groups of 64, or with none. Every contender's estimate is held to the exact values
({cost:.6f} and {grad:.7f} at θ = 0.3, within 5 of the exact standard errors) before it is timed.

```sh
pip install -e ".[bench]"
eval "$(bash tests/benchmarks/make_peers.sh)"             # an environment for each peer: they exclude each other
python tests/benchmarks/report.py > docs/benchmarks.md    # this page
python tests/benchmarks/nets_report.py                    # a belief net and an autoencoder, beside their products
python tests/benchmarks/policy_report.py                  # the gradient of a policy, over 100 steps
python tests/benchmarks/cartpole_report.py                # the gradient of a CartPole policy
python tests/benchmarks/authors_forms.py                  # ARM, DisARM, REBAR, RELAX beside their authors' forms
python tests/benchmarks/replays.py                        # estimators that replay a layer draw by draw
python -m pytest tests/benchmarks/bench_toy.py            # the same contenders under pytest-benchmark
python -m pytest tests/benchmarks/test_contenders.py      # that they compute the same thing
python tests/benchmarks/anatomy.py                        # where the time of a call and of a kernel goes
python tests/benchmarks/compile_times.py                  # first calls of whole models, and where their time goes
```

All contenders ran in one go, each in a process of its own, in turns: {rounds} rounds (fewer where a call takes more
than half a second). Times are medians over rounds, and in brackets the best; ratios are medians of the ratios within a
round, and in brackets of the best times. On one thread every process is confined to one processor, and the clock is
that processor's; on more, it is the wall's. Calls that take less than 10 ms are made one after another for 20 ms, and
for 20 ms before that untimed: a process that has waited for its turn finds cold caches. All give back Python floats.

The hand-written kernels draw the same numbers as scg (Philox4x32-10, by the same function), sum in float64 as scg does,
and give the same results to rounding; "no algebra" has every quantity of the formula where the formula has it, the
others take a group's gradient from three sums in one pass. JAX and PyTorch use float32 (unless said) and generators of
their own, and no peer computes standard errors. A size is left out where a call would take more than {call:.0f} s, or
{memory:.0%} of the free memory.
"""
ANATOMY = "A call of 64 samples, and what each step of a kernel adds when ever more of its steps are compiled."


def section(title: str, *parts: str) -> None:
    """Print as soon as it is known."""
    print(f"\n## {title}\n", "\n\n".join(part for part in parts if part), sep="\n", flush=True)


def main() -> None:
    """Measure and print."""
    chosen = options()
    sizes = [n for n in toy.SIZES if n <= chosen.largest]
    limits = Limits(rounds=chosen.rounds, call=chosen.call)
    about, results = machine(), {}
    contenders = OURS if chosen.ours else CONTENDERS
    for threads in chosen.threads:
        say(f"speed on {threads} thread(s)")
        results[threads] = harness.everything(threads, sizes, toy.BASELINES, contenders, limits, say)
    first = results[chosen.threads[0]]
    started, ends = starts(chosen.starts), (sizes[-1] // 1000, sizes[-1])
    used = memory(ends)
    parts = {(b, variant): anatomy(b, variant) for b in toy.BASELINES for variant in ("stderr", "plain")}
    print(INTRODUCTION.format(cost=toy.EXACT_COST, grad=toy.EXACT_GRAD, **vars(limits)))
    section("Targets", f"On {chosen.threads[0]} thread(s).", targets(first, started, used, parts))
    section("Machine and contenders", about, contender_table(results))
    for threads, result in results.items():
        shown = [p for b in toy.BASELINES for p in (f"**{TITLES[b]}**", speed_table(result, b), ratio_table(result, b))]
        section(f"{threads} thread{'s' * (threads > 1)}", *shown, disturbance(result))
    section("Starts", start_table(started), first_table(first))
    section("Memory", memory_table(used, ends), peers_memory_table(() if chosen.ours else harness.PEERS, limits))
    section("Where the time goes", ANATOMY, *(anatomy_text(*key, found) for key, found in parts.items()))


if __name__ == "__main__":
    main()
