"""Small calls, prepared once for each size: the same bits, the same words, from any thread."""

import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import scg
from scg.run.one_range import OneRange

pytestmark = pytest.mark.by_python


def toy(g):
    """One draw, of a logit."""
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("loss", (b - 0.45) ** 2)
    return {"t": 0.3}


def checked(g):
    """Several costs, a state, a parameter with a range."""
    p = g.param("p", (3,))
    b = g.sample("b", scg.Bernoulli(probs=p))
    x = g.sample("x", scg.Normal(g.param("m"), 0.5))
    g.cost("first", (b * np.arange(3.0)).sum() * x)
    g.cost("second", x**2)
    return {"p": np.array([0.2, 0.3, 0.9]), "m": 0.4}


def rows(g):
    """Data, and what does not vary by replicate."""
    w, x = g.param("w", (2, 2)), g.data("x", (2,))
    b = g.sample("b", scg.Bernoulli(logits=(w @ x)[0]))
    g.cost("loss", b * 2.0 + w.sum())
    return {"w": np.array([[0.1, -0.2], [0.3, 0.5]]), "x": np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]])}


def made(build: Callable[[scg.Graph], dict[str, Any]], **options):
    g = scg.Graph(build.__name__)
    values = build(g)
    return scg.compile(g, **options), values


class Inline:
    """An executor: calls that have one are not prepared."""

    def map(self, function, *arguments):
        return map(function, *arguments)


def numbers(r: scg.Estimate) -> dict[str, Any]:
    """All that an estimate says, bit for bit."""
    arrays = {name: getattr(r, name) for name in ("grad", "stderr", "state")}
    return {"cost": r.cost, "cost_stderr": np.float64(r.cost_stderr).tobytes(), "costs": dict(r.costs), "text": str(r),
            "notes": r.notes, "seed": r.seed, "shape": (r.samples, r.rows), "coupling": r.coupling, "record": r.record,
            **{name: {n: (a.dtype, a.shape, a.tobytes()) for n, a in found.items()} for name, found in arrays.items()}}


@pytest.mark.parametrize(("build", "options"), [
    (toy, {}), (toy, {"dtype": "float32"}), (toy, {"stderr": False}), (rows, {}), (checked, {"dtype": "float32"}),
    (checked, {"strategy": scg.ScoreFunction(scg.MovingAverage())})])
def test_a_prepared_call_gives_what_others_give(build, options):
    f, values = made(build, **options)
    for samples in (1, 2, 70):
        right = numbers(f(values, samples=samples, rng=7, executor=Inline()))
        found = [f(values, samples=samples, rng=7) for _ in range(2)]
        assert all(numbers(r) == right for r in found)
        assert numbers(pickle.loads(pickle.dumps(found[1]))) == right
        assert numbers(f(values, samples=samples, rng=8)) != right or samples == 1
        if not (build is checked and "dtype" in options):  # several costs, whose sum is made of their means
            assert isinstance(found[1]._merged, OneRange)


WRONG = [{"t": np.nan}, {"t": np.inf}, {"t": -np.inf}, {"t": [0.3]}, {"t": "a"}, {"t": None}, {"t": 1j}, {}, {"s": 0.3},
         {"t": 0.3, "s": 1}, {"t": np.array([0.3, 0.4])}, {"t": np.ma.masked}, [0.3], None, {"t": 1e39}, {"t": -1e400}]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_prepared_call_refuses_what_others_refuse(dtype):
    f, values = made(toy, dtype=dtype)

    def said(given, **options) -> str:
        try:
            return str(numbers(f(given, **{"samples": 64, "rng": 1, **options})))
        except scg.SCGError as error:
            return f"{type(error).__name__} {error}"

    def all_said() -> list[str]:
        wrong = [{"rng": True}, {"rng": "1"}, {"samples": 0}, {"samples": 64.0}, {"samples": True}, {"executor": 3},
                 {"state": {"a": 1.0}}, {"state": {}}, {"record": "c"}, {"record": 3}, {"record": np.array([1, 2])}]
        return [*(said(given) for given in WRONG), *(said(values, **options) for options in wrong)]

    first = all_said()
    assert sum("Error" in text for text in first) >= len(WRONG) + 8
    f(values, samples=64, rng=1), f(values, samples=1, rng=1)
    assert isinstance(f(values, samples=64, rng=1)._merged, OneRange)
    assert all_said() == first


def test_what_fails_in_a_prepared_call_is_named():
    f, values = made(checked, strategy=scg.ScoreFunction(scg.MovingAverage()))
    wrong = {**values, "p": np.array([0.2, 1.5, 0.9])}, {**values, "m": 1e200}
    before = []
    for given in wrong:
        with pytest.raises(scg.SCGError) as caught:
            f(given, samples=64, rng=1)
        before.append(str(caught.value))
    assert "probs" in before[0] and "finite" in before[1]
    for _ in range(3):
        f(values, samples=64, rng=1)
    for given, right in zip(wrong, before):
        with pytest.raises(scg.SCGError) as caught:
            f(given, samples=64, rng=1)
        assert str(caught.value) == right


@pytest.mark.parametrize("t", [0.3, np.float64(0.3), np.array(0.3), np.float32(0.3), 1, True, np.int64(1),
                               np.broadcast_to(0.3, ())])
def test_numbers_of_any_kind(t):
    f, values = made(toy)
    f(values, samples=64, rng=1)
    expected = numbers(f({"t": np.array(float(t))}, samples=64, rng=1, executor=Inline()))
    assert numbers(f({"t": t}, samples=64, rng=1)) == expected


def test_seeds_of_any_kind():
    f, values = made(toy)
    for make in (lambda: 2**64 + 5, lambda: -3, lambda: np.uint64(7), lambda: np.random.SeedSequence(3),
                 lambda: np.random.default_rng(3)):
        right = numbers(f(values, samples=64, rng=make(), executor=Inline()))
        assert numbers(f(values, samples=64, rng=make())) == right
    rng = np.random.default_rng(3)
    assert f(values, samples=64, rng=rng).seed != f(values, samples=64, rng=rng).seed
    assert f(values, samples=64).seed != f(values, samples=64).seed


def test_what_becomes_of_a_result_changes_nothing():
    f, values = made(checked)
    r = [f(values, samples=64, rng=1) for _ in range(2)][1]
    right = numbers(r)
    for found in (r.grad, r.stderr):
        found["p"][:] = 5.0
        found["m"] += 1.0
    f(values, samples=64, rng=2)  # nor does the next call
    assert numbers(r) == right


def test_calls_of_several_threads_at_once(monkeypatch):
    f, _ = made(checked)
    given = [({"p": np.array([0.2, 0.3, 0.1 + 0.05 * i]), "m": 0.1 * i}, i) for i in range(12)] * 4
    right = [numbers(f(values, samples=70, rng=seed)) for values, seed in given]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda case: numbers(f(case[0], samples=70, rng=case[1])), given))
    finally:
        sys.setswitchinterval(before)
    assert found == right
