"""Which elements depend on a site: a loop of any length is walked until its steps repeat themselves."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.analysis import dependence
from scg.analysis.dependence import Dependence
from scg.ir.node import Node, constant

LENGTH = 7
P = scg.Bernoulli(probs=0.5)


def _swap(draw, c, x):
    a, b = c
    return (b, a + draw(a)), a


def _register(draw, c, x):
    return np.concatenate([c[1:], (draw(0.0) * x)[None]]), c


def _rotation(draw, c, x):
    return np.concatenate([c[1:], c[:1]]), c[0] + x


def _forgetful(draw, c, x):
    z = draw(c)
    return 0.0 * c + x, z + c


def _first_only(draw, c, x):
    return c * draw(0.0), c


def _passed_on(draw, c, x):
    return c, x


def _still(draw, c, x):
    return c, c


START = {_passed_on: lambda z: 1.0, _still: lambda z: z, _swap: lambda z: (0.0, 1.0),
         _register: lambda z: np.zeros(3), _forgetful: lambda z: 1.0,
         _rotation: lambda z: scg.stack([z, 0.0, 0.0, 1.0]), _first_only: lambda z: 1.0}


def _marks(found: Dependence, node: Node) -> np.ndarray:
    """Whether each element depends on any of the sites."""
    return np.broadcast_to(np.array(found(node), dtype=object), node.shape) != 0


@pytest.mark.parametrize("with_arrays", [False, True])
@pytest.mark.parametrize("step", START)
def test_a_loop_depends_on_what_its_unrolled_steps_depend_on(step, with_arrays):
    g, h = scg.Graph("loop"), scg.Graph("unrolled")
    (t, other), (u, z) = ((graph.param("t"), graph.sample("other", P)) for graph in (g, h))
    given = [[(o if i in (2, 5) and with_arrays else 1.0) for i in range(LENGTH)] for o in (other, z)]

    def looped(c, x):
        return step(lambda shift: g.sample("s", scg.Bernoulli(logits=shift + t)), c, 1.0 if x is None else x)

    last, ys = g.scan(looped, START[step](other), xs=scg.stack(given[0]) if with_arrays else None, length=LENGTH)
    carry, out, names = START[step](z), [], ["other"]
    for i in range(LENGTH):
        def draw(shift, i=i):
            names.append(f"s[{i}]")
            return h.sample(names[-1], scg.Bernoulli(logits=shift + u))
        carry, y = step(draw, carry, given[1][i])
        out.append(y)
    for sites, unrolled in ((["s"], names[1:]), (["other"], names[:1])):
        known, right = Dependence(*sites), Dependence(*unrolled)
        for a, b in zip(last if isinstance(last, tuple) else (last,), carry if isinstance(carry, tuple) else (carry,)):
            assert np.array_equal(_marks(known, a), _marks(right, constant(b)))
        assert np.array_equal(_marks(known, ys), _marks(right, scg.stack(out)))


def test_a_loop_is_not_walked_step_by_step(monkeypatch):
    steps = []
    outputs = dependence._Step.outputs
    monkeypatch.setattr(dependence._Step, "outputs", lambda self, *a: steps.append(1) or outputs(self, *a))
    for length in (10**3, 10**6):
        g = scg.Graph("long")
        t = g.param("t")
        b = g.sample("b", scg.Bernoulli(logits=t))
        (a, _), ys = g.scan(lambda c, x, g=g, t=t: (
            (c[1] + g.sample("s", scg.Bernoulli(logits=t + c[0])), c[0]), c[1]), (b, 0.0), length=length)
        g.cost("c", a + ys[3])
        g.scan(lambda c, y, g=g: (c + y * g.sample("u", scg.Bernoulli(logits=c)), None), 0.0, xs=ys)
        steps.clear()
        scg.compile(g, backend="numpy")
        assert len(steps) < 20
        known = Dependence("s")
        assert known.any(a) and not np.any(known(ys)[:1]) and np.all(known(ys)[3:])
