"""Serve one contender: ``python serve.py PROGRAM THREADS`` answers requests on stdin, a line of JSON each, on stdout.

The process confines itself to THREADS processors before it imports anything that counts them. A program is a file in
`contenders` with ``setup(threads) -> dict`` (versions and thread settings, for the report) and
``make(variant, baseline, samples, threads) -> step``, where ``step(seed) -> (cost, gradient, standard error or nan)``.
"""

import importlib.util
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def waited() -> float:
    """Seconds for which this process's living threads were ready, and other processes had the processors."""
    total = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/schedstat") as file:
            total += int(file.read().split()[1])
    return total * 1e-9


def confine(threads: int) -> None:
    """Run on that many processors, and tell the usual thread pools so."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def load(program: str):
    """The module of a contender."""
    spec = importlib.util.spec_from_file_location(program, HERE / "contenders" / f"{program}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Steps:
    """The steps of a contender, made once for each problem."""

    def __init__(self, module, threads: int):
        self.module, self.threads, self.made = module, threads, {}

    def answer(self, variant: str, baseline: str, samples: int, calls: int, seed: int) -> dict:
        """Time so many calls, one after another, and return the mean time and what the last one estimated.

        A step that is new is called once before that; for ``calls=0`` that is all. Where many calls are timed, as many
        are made before: a process that has waited finds its caches emptied by the others, and its processor slow.
        """
        problem = (variant, baseline, samples)
        began = time.perf_counter()
        first = None
        if problem not in self.made:
            step = self.module.make(*problem, self.threads)
            cost, grad, error = step(seed)
            self.made[problem] = step
            first = time.perf_counter() - began
        step = self.made[problem]
        for i in range(calls if calls > 1 else 0):
            step(seed + i)
        lost, cpu, wall = waited(), time.process_time(), time.perf_counter()
        for i in range(calls):
            cost, grad, error = step(seed + i)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        calls = max(calls, 1)
        return {"wall": wall / calls, "cpu": cpu / calls, "first": first, "cost": cost, "grad": grad, "stderr": error,
                "waited": max(waited() - lost, 0.0) / calls, "peak": peak_bytes()}


def main() -> None:
    """Answer until stdin closes."""
    program, threads = sys.argv[1], int(sys.argv[2])
    confine(threads)
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr  # what contenders print must not mix with the answers
    sys.path[:0] = [str(HERE), str(HERE / "contenders")]  # contenders share problems, and forms with each other
    began = time.perf_counter()
    module = load(program)
    info = module.setup(threads)
    steps = Steps(module, threads)
    reply = {"info": info, "import": time.perf_counter() - began, "peak": peak_bytes()}
    while True:
        print(json.dumps(reply), file=answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        try:
            reply = steps.answer(**json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}


if __name__ == "__main__":
    main()
