"""Executors of the caller's: each chunk's result must come back once, and in its place, or the call is refused."""

import numpy as np
import pytest

import scg

VALUES = {"t": 0.2}


class Mapped:
    """An executor that returns what is made of the results."""

    def __init__(self, made):
        self.made = made

    def map(self, function, *arguments):
        return self.made(list(map(function, *arguments)))


def estimator(**options):
    g = scg.Graph("toy")
    t, x = g.param("t"), g.data("x") if options.pop("rows", False) else 1.0
    z = g.sample("z", scg.Bernoulli(logits=t * x))
    g.cost("c", z * 3.0)
    return scg.compile(g, backend="numpy", strategy=scg.ScoreFunction(), **options)


WRONG = {"one lost": lambda r: r[:-1], "one only": lambda r: r[:1], "twice": lambda r: r + r, "none": lambda r: [],
         "one repeated": lambda r: [r[0], *r[:-1]], "reversed": lambda r: r[::-1], "None": lambda r: None,
         "others": lambda r: [1] * len(r), "futures": lambda r: [object() for _ in r], "a number": lambda r: 3,
         "without the number": lambda r: [part for _, part in r]}


@pytest.mark.parametrize("made", WRONG.values(), ids=WRONG)
def test_results_that_are_not_those_of_the_chunks(made):
    """Fewer, more, or others: a cost that is too small, or numbers of another replicate, would be the result."""
    with pytest.raises(scg.CallError, match=r"(?s)executor=.*parts of the call.*results"):
        estimator()(VALUES, samples=300_000, rng=0, executor=Mapped(made))


@pytest.mark.parametrize("made", [WRONG["one lost"], WRONG["twice"], WRONG["reversed"]])
def test_with_records_and_with_rows(made):
    f, rows = estimator(), estimator(rows=True, wrt=("x",))
    with pytest.raises(scg.CallError, match=r"(?s)executor=.*parts of the call.*results"):
        f(VALUES, samples=300_000, rng=0, executor=Mapped(made), record="z")
    with pytest.raises(scg.CallError, match=r"(?s)executor=.*parts of the call.*results"):
        rows(VALUES | {"x": np.ones(100)}, samples=3_000, rng=0, executor=Mapped(made))


def test_one_that_maps_has_the_same_bits():
    """Lists, generators and tuples of results are all one."""
    f = estimator()
    right = f(VALUES, samples=300_000, rng=0, record="z")
    for made in (list, tuple, iter, lambda r: (x for x in r)):
        r = f(VALUES, samples=300_000, rng=0, executor=Mapped(made), record="z")
        assert r.cost == right.cost and r.grad["t"] == right.grad["t"]
        np.testing.assert_array_equal(r.record["z"], right.record["z"])
