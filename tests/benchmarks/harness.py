"""Run contenders in processes of their own, and time them in turns.

Machine timings drift, so contenders are never timed one after the other: a round asks each of them once, in an order
that rotates from round to round. Threads of a pool stay awake for a while when their work is done (OpenBLAS's for some
30 ms), and would share a processor with the next contender: between two there is a pause. A request during which the
contender's threads had to wait for a processor, because others had them, is repeated a few times, and the least
disturbed one counts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import toy

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Contender:
    """A line of the tables: a program, and which of its variants."""

    label: str
    program: str
    variant: str
    peer: str = ""  # the environment variable that names its interpreter is SCG_BENCH_<peer>
    baselines: tuple[str, ...] = toy.BASELINES


SCG, SCG_PLAIN = Contender("scg", "ours", "stderr"), Contender("scg, stderr=False", "ours", "plain")
HAND = Contender("hand-written Numba, with moments", "handwritten", "moments")
HAND_PLAIN = Contender("hand-written Numba, means only", "handwritten", "plain")
STRAIGHT = Contender("hand-written Numba, with moments, no algebra", "handwritten", "straight-moments", "", ("loo",))
STRAIGHT_PLAIN = Contender("hand-written Numba, means only, no algebra", "handwritten", "straight", "", ("loo",))
JAX = Contender("JAX", "with_jax", "whole", "JAX")
JAX_SCAN = Contender("JAX, blocks in a scan", "with_jax", "scan", "JAX")
JAX_64 = Contender("JAX, float64", "with_jax", "float64", "JAX")
TORCH = Contender("PyTorch", "with_torch", "eager", "TORCH")
TORCH_COMPILED = Contender("PyTorch, torch.compile", "with_torch", "compiled", "TORCH")
STORCHASTIC = Contender("Storchastic", "with_storchastic", "", "STORCHASTIC")
OURS = (SCG, SCG_PLAIN, HAND, HAND_PLAIN, STRAIGHT, STRAIGHT_PLAIN)
PEERS = (JAX, JAX_SCAN, JAX_64, TORCH, TORCH_COMPILED, STORCHASTIC)
CONTENDERS = OURS + PEERS


def missing(contender: Contender) -> str:
    """Why a contender cannot run here, or nothing."""
    if not contender.peer:
        return ""
    name = f"SCG_BENCH_{contender.peer}"
    interpreter = os.environ.get(name, "")
    if not interpreter:
        return f"missing: {name} is not set (see make_peers.sh)"
    return "" if Path(interpreter).exists() else f"missing: {name}={interpreter} does not exist"


def environment(contender: Contender) -> dict[str, str]:
    """Ours find the repository; peers see nothing of it."""
    out = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if not contender.peer:
        out["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'backends'}"
    return out


class Worker:
    """A process that serves one program on so many threads."""

    def __init__(self, contender: Contender, threads: int):
        python = os.environ[f"SCG_BENCH_{contender.peer}"] if contender.peer else sys.executable
        self.threads = threads
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen([python, str(HERE / "serve.py"), contender.program, str(threads)], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                                         env=environment(contender))
        self.started = self._reply()

    def _reply(self) -> dict:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._log.seek(0)
        said = self._log.read().strip().splitlines()
        return {"error": f"died ({self._process.wait()}): {said[-1] if said else 'without a word'}"}

    def ask(self, contender: Contender, baseline: str, samples: int, calls: int = 1, seed: int = 0) -> dict:
        """Time so many calls of a contender of this program."""
        request = {"variant": contender.variant, "baseline": baseline, "samples": samples, "calls": calls, "seed": seed}
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            return {"error": "died before"}
        return self._reply()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@dataclass
class Series:
    """What one contender took for one problem: seconds per call, in every round; or why it did not run.

    On one thread the processor's seconds count, which other processes prolong little; on more, the wall's.
    """

    threads: int = 1
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)  # share of the time that a thread waited for a processor
    calls: int = 0
    first: float | None = None
    z: tuple[float, float] = (0.0, 0.0)
    reason: str = ""

    @property
    def seconds(self) -> list[float]:
        """Per call, in every round."""
        return self.cpu if self.threads == 1 else self.wall

    @property
    def median(self) -> float:
        """Of the seconds per call."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Of the seconds per call."""
        return min(self.seconds)


def ratio(a: Series, b: Series) -> tuple[float, float] | None:
    """How many times as long `a` took: the median over rounds, and of the best times."""
    if not a.wall or not b.wall:
        return None
    return statistics.median(x / y for x, y in zip(a.seconds, b.seconds)), a.best / b.best


@dataclass(frozen=True)
class Limits:
    """What a measurement may take."""

    rounds: int = 9
    tries: int = 6  # of a request that other processes disturbed
    request: float = 0.02  # seconds of calls in one request, if a call takes less
    call: float = 20.0  # seconds of one call
    pause: float = 0.1  # seconds before a request of several threads, in which those of the one before come to rest
    memory: float = 0.3  # share of what is free


def free_bytes() -> int:
    """Memory that is available on this machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return 1 << 33


class Foresight:
    """What a contender's next size would take, from the size before."""

    def __init__(self, limits: Limits):
        self.limits, self.seen, self.last = limits, {}, 0

    def objection(self, contender: Contender, baseline: str, samples: int) -> str:
        """Why a size is out of reach, or nothing."""
        before, seconds, bytes_ = self.seen.get((contender, baseline), (samples, 0.0, 0))
        factor = samples / before
        if before == 0 or seconds * factor > self.limits.call:
            return f"would take {seconds * factor:.0f} s"
        if bytes_ * factor > self.limits.memory * free_bytes():
            return f"would take {bytes_ * factor / 1e9:.0f} GB"
        return ""

    def learn(self, contender: Contender, baseline: str, samples: int, seconds: float, grown: int) -> None:
        """A call took so long, and the process grew by so much."""
        if samples >= 1_000_000:
            self.seen[contender, baseline] = (samples, seconds, grown if grown > 50_000_000 else 0)


def measure(workers: dict[Contender, Worker], baseline: str, samples: int, limits: Limits,
            foresight: Foresight | None = None, say=lambda *_: None) -> dict[Contender, Series]:
    """Time all contenders on one problem, in turns."""
    out, running = {}, []
    for contender in CONTENDERS:
        if contender not in workers or baseline not in contender.baselines:
            continue
        series = out[contender] = Series(workers[contender].threads)
        series.reason = foresight.objection(contender, baseline, samples) if foresight else ""
        if not series.reason and warm(workers[contender], contender, baseline, samples, limits, series, foresight):
            running.append(contender)
        say(f"{contender.label}, {baseline}, {samples}: {series.reason or f'{series.calls} calls a round'}")
    for i in range(limits.rounds):
        for contender in running[i % len(running) :] + running[: i % len(running)] if running else ():
            series = out[contender]
            if series.reason or (i >= 3 and series.median > 0.5) or (i >= 1 and series.median > 3.0):
                continue
            _time(series, workers[contender], (contender, baseline, samples), limits)
    return out


def _time(series: Series, worker: Worker, question: tuple, limits: Limits) -> None:
    """One round of one contender."""
    replies = []
    for _ in range(limits.tries):
        if worker.threads > 1:
            time.sleep(limits.pause)
        reply = worker.ask(*question, series.calls, 1 + len(series.wall) * series.calls)
        if "error" in reply:
            series.reason = reply["error"]
            return
        replies.append(reply)
        if reply["waited"] < 0.02 * reply["wall"] or reply["wall"] * series.calls > 0.5:
            break
    reply = min(replies, key=lambda r: r["waited"] / r["wall"])
    series.wall.append(reply["wall"])
    series.cpu.append(reply["cpu"])
    series.waited.append(reply["waited"] / reply["wall"])


def warm(worker: Worker, contender: Contender, baseline: str, samples: int, limits: Limits, series: Series,
         foresight: Foresight | None = None) -> bool:
    """Make the step, call it, check what it says, and choose how often to call it in a round."""
    before = getattr(worker, "peak", worker.started.get("peak", 0))
    reply = worker.ask(contender, baseline, samples)
    if "error" in reply:
        series.reason = reply["error"]
        return False
    worker.peak = reply["peak"]
    series.first = reply["first"]
    reply = worker.ask(contender, baseline, samples) if reply["wall"] < 1.0 else reply
    series.calls = max(1, min(20_000, int(limits.request / reply["wall"])))
    series.z = toy.z_scores(reply["cost"], reply["grad"], samples, baseline)
    if max(map(abs, series.z)) > 5.0:
        series.reason = f"wrong: {series.z[1]:.0f} standard errors from the exact gradient"
        return False
    if foresight:
        foresight.learn(contender, baseline, samples, reply["wall"], reply["peak"] - before)
    return True


def start(contenders, threads: int) -> tuple[dict[Contender, Worker], dict[Contender, str]]:
    """A worker for each program that can run, and why the others cannot."""
    workers, reasons, by_program = {}, {}, {}
    for contender in contenders:
        reason = missing(contender)
        if not reason and contender.program not in by_program:
            by_program[contender.program] = Worker(contender, threads)
        worker = by_program.get(contender.program)
        reason = reason or worker.started.get("error", "")
        if reason:
            reasons[contender] = reason
        else:
            workers[contender] = worker
    return workers, reasons


def close(workers: dict[Contender, Worker]) -> None:
    """End all workers."""
    for worker in {id(w): w for w in workers.values()}.values():
        worker.close()


def take_turns(jobs: dict, threads: int, rounds: int, calls: int = 5, request: float = Limits.request) -> dict:
    """Series of jobs, each ``(worker or why there is none, contender, problem, samples)``: a round asks all in turn."""
    out = {key: Series(threads, reason=job[0] if isinstance(job[0], str) else "") for key, job in jobs.items()}
    for key, (worker, *question) in jobs.items():
        if not out[key].reason:
            reply = worker.ask(*question)
            out[key].first, out[key].reason = reply.get("first"), reply.get("error", "")
            out[key].calls = max(calls, int(request / reply["wall"])) if "wall" in reply else 0
    for i in range(rounds):
        running = [key for key, series in out.items() if not series.reason]
        for key in running[i % max(len(running), 1) :] + running[: i % max(len(running), 1)]:
            worker, *question = jobs[key]
            _time(out[key], worker, tuple(question), Limits())
            if out[key].reason:
                out[key] = Series(threads, reason=out[key].reason)
    return out


def everything(threads: int, sizes, baselines, contenders, limits: Limits, say=lambda *_: None) -> dict:
    """All problems on so many threads: ``{(baseline, samples): {contender: series}}``, what is missing, what ran."""
    workers, reasons = start(contenders, threads)
    try:
        foresight = Foresight(limits)
        problems = itertools.product(baselines, sizes)
        tables = {(b, n): measure(workers, b, n, limits, foresight, say) for b, n in problems}
        return {"tables": tables, "missing": reasons, "info": {c: w.started for c, w in workers.items()}}
    finally:
        close(workers)
