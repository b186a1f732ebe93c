"""Steps of loops are counted in whole numbers: beyond 2²⁴, where float32 tells none apart, each has its own words."""

from __future__ import annotations

import pytest

import scg
from scg import simplification
from scg.ir.node import make
from scg.ir.traverse import substitute, topological
from scg.ops.leaves import noise_op
from scg.ops.scan import scan_op

FAR = 2.0**24 - 2.0


def far(roots):
    """A program whose draws are those of steps that lie far from the first, in loops and in loops inside of these."""
    roots = list(roots)
    nodes = [n for n in topological(roots) if n.op is scan_op]
    return substitute(roots, {n: make(scan_op, n.args, n.attrs.with_outputs(tuple(further(n.attrs.outputs))))
                              for n in nodes})


def further(outputs):
    """The same of one step."""
    moved = {n: make(noise_op, (n.args[0] + FAR,), n.attrs, owner=n.owner)
             for n in topological(outputs) if n.op is noise_op}
    return substitute(far(outputs) if not moved else outputs, moved)


def graph(nested: bool) -> scg.Graph:
    """Draws of five or six steps, as the digits of a number."""
    g = scg.Graph("digits")
    a = g.param("a")

    def step(total, _):
        b = g.sample("b", scg.Bernoulli(logits=0.0))
        return 2.0 * total + b, None

    if nested:
        last, _ = g.scan(lambda c, _: (g.scan(step, c, length=3)[0], None), 0.0, length=2)
    else:
        last, _ = g.scan(step, 0.0, length=5)
    g.cost("c", a * last**2)
    return g


@pytest.mark.parametrize("nested, backend", [(False, "numpy"), (True, "numpy"), (True, "numba")])
def test_words_of_far_steps(nested, backend, monkeypatch):
    near = scg.compile(graph(nested), backend="numpy")({"a": 1.0}, samples=64, rng=2).cost
    monkeypatch.setattr(simplification, "forward_only", far)
    costs = [scg.compile(graph(nested), dtype=dtype, backend=by)({"a": 1.0}, samples=64, rng=2).cost
             for dtype, by in (("float64", "numpy"), ("float32", backend))]
    assert costs[0] == costs[1] != near
