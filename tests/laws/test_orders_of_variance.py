"""Orders of variances that are theorems, on random problems, exactly: what is averaged given less noise varies less.

DisARM is ARM averaged over what two antithetic draws do not tell of their noise (Dong, Mnih & Tucker 2020, §3). A draw
that is summed out with the others as they are is any score function averaged over this draw, whatever its baseline is
made of besides (Tokui & Sato 2017, theorem 1). Gumbel–Rao is held to the same in `test_averaged_relaxations.py`.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from tests.laws.checks.exact_variance import numeric_variance

SEEDS = range(4)


def problem(seed: int, draws: int, later: int) -> tuple[scg.Graph, dict]:
    """Binary draws, others that they move, and a cost that is linear in neither."""
    rng, g = np.random.default_rng(seed), scg.Graph("random")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta", draws)))
    h = b
    if later:
        c = g.sample("c", scg.Bernoulli(logits=rng.normal(size=(later, draws)) @ b + g.param("v", later)))
        h = scg.concatenate([b, c])
    g.cost("f", scg.tanh(rng.normal(size=(2, draws + later)) @ h + rng.normal(size=2)) @ rng.normal(size=2))
    return g, {"theta": rng.normal(size=draws), **({"v": rng.normal(size=later)} if later else {})}


def check(less, more, made: tuple[scg.Graph, dict], group: int = 1) -> None:
    """No parameter's estimate varies more by the first estimator; some vary truly less.

    Where replicates come in groups, what is found is the variance of a group's mean.
    """
    g, values = made
    small, large = (numeric_variance(derive(g, strategy), values) for strategy in (less, more))
    large = {name: group * v for name, v in large.items()}
    gaps = np.concatenate([np.ravel(large[name] - small[name]) for name in values])
    scale = max(np.max(v) for v in large.values())
    assert np.all(gaps > -1e-9 * scale), f"{less}: {small}, {more}: {large}"
    assert np.any(gaps > 1e-6 * scale)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sizes", [(2, 0), (1, 1)], ids=["two draws", "two layers"])
def test_disarm_varies_no_more_than_arm(seed, sizes):
    check(scg.DisARM(), scg.ARM(), problem(seed, *sizes))


BASELINES = {"none": (None, 1), "a number": (scg.Constant(0.8), 1), "the others' mean": (scg.LeaveOneOut(2), 2)}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("baseline, group", BASELINES.values(), ids=BASELINES)
def test_a_draw_summed_out_varies_no_more_than_a_score(seed, baseline, group):
    check(scg.LocalExpectation(), scg.ScoreFunction(baseline=baseline), problem(seed, 2, 1), group)


@pytest.mark.parametrize("seed", SEEDS)
def test_nor_more_than_with_a_baseline_made_of_the_other_draws(seed):
    """Of draws that are sites of their own, each is weighed less the mean cost given the others: the best there is."""
    rng, g = np.random.default_rng(seed), scg.Graph("random")
    values = dict(zip("pq", rng.normal(size=2)))
    x, y = (g.sample(name, scg.Bernoulli(logits=g.param(p))) for name, p in (("x", "p"), ("y", "q")))
    table = rng.normal(size=4)
    cost = lambda x, y: table[0] + table[1] * x + table[2] * y + table[3] * x * y
    g.cost("f", cost(x, y))
    mean = lambda p: scg.sigmoid(g.params[p])
    by = {"x": scg.ScoreFunction(baseline=scg.Expression(cost(mean("p"), y))),
          "y": scg.ScoreFunction(baseline=scg.Expression(cost(x, mean("q"))))}
    check(scg.LocalExpectation(), by, (g, values))
