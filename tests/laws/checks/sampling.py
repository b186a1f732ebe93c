"""Laws on real noise: estimates within five standard errors, and graphs evaluated over some lanes."""

from __future__ import annotations

import numpy as np
from scg_numpy import Evaluation, evaluate

from scg.ir.traverse import topological
from scg.noise import key

SAMPLES, SEED = 20_000, 3


def within(found, error, expected, what: str) -> None:
    """Five standard errors; one that is zero stands for rounding."""
    floor = 1e-12 * np.maximum(1.0, np.abs(expected))
    z = (np.asarray(found) - expected) / np.maximum(error, floor)
    assert np.all(np.abs(z) < 5), f"{what}: {found} ± {error} instead of {expected} (z = {z})"
    assert np.all(np.asarray(error) < 0.5 * np.maximum(1.0, np.abs(expected))), f"{what}: ± {error} tests nothing"


def streams(roots) -> set[str]:
    """Paths of all noise below the roots, bodies of scans included."""
    found = set()
    for n in topological(roots):
        if n.op.name == "noise":
            found.add(n.attrs.path)
        elif n.op.name == "scan":
            found |= streams(n.attrs.outputs)
    return found


def sampled(roots, values, lanes: int = 32) -> list[np.ndarray]:
    """Values of nodes over some lanes of noise in groups of four; axes that a node lacks are put in."""
    starts = np.arange(0, lanes, 4)
    ev = Evaluation(values, {"row": 1, "lane": lanes}, fed=values, states=values,
                    keys={path: key(1, path) for path in streams(roots)},
                    groups=lambda size: (starts, np.full(len(starts), 4)))
    found = evaluate(roots, ev)
    return [np.broadcast_to(v if any(ax.name == "lane" for ax in n.axes) else v[None], (lanes, *n.shape))
            for v, n in zip(found, roots)]
