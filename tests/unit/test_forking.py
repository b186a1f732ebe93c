"""Forked processes: whatever other threads were at, the child computes, on threads of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PARENT = """
import contextlib, os, signal, threading
import numpy as np
import scg
from scg import collecting
from scg.ir import looks, node
from scg.run import executors
from scg_numba import cache, products, waiting

executors.processors = lambda: 2

def made(factor):
    g = scg.Graph("net")
    w, x = g.param("w", (60, 71)), g.data("x", 71)
    z = g.sample("z", scg.Normal(w @ x, 1.0))
    g.cost("cost", np.sum(z * factor))
    return scg.compile(g, stderr=False)

def number(f):
    return float(f({"w": np.zeros((60, 71)), "x": np.ones((2, 71))}, samples=3000, rng=1).cost)

f = made(2.0)
expected = number(f)
LOCKS = (collecting._lock, looks._lock, node._lock, cache._loading, products.one_thread.lock, waiting._lock,
         executors._pool[0]._shutdown_lock)
held, done = threading.Event(), threading.Event()

def hold():
    with contextlib.ExitStack() as stack:
        for lock in LOCKS:
            stack.enter_context(lock)
        held.set()
        done.wait()

threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(100)
    good = number(f) == expected and number(made(4.0)) == 2.0 * expected
    os._exit(0 if good and executors._pool[0]._threads else 3)
done.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_locks_and_pools_are_new_in_a_forked_process():
    """What another thread holds when a process is forked would never be let go of in the child."""
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, timeout=300)
    assert done.stdout == "0\n", done.stdout + done.stderr
