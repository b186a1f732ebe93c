"""Models with other numbers: what is found of them is what would be compiled, and of numbers that matter nothing is."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch
from zlib import crc32

import numpy as np
import pytest
import scg_numba

import scg
from scg.errors import Problem
from tests.kept_by_name import is_found, kept_by_name  # noqa: F401  (a fixture of all tests here)


def _needed(f) -> tuple:
    """All that a call does."""
    problems = (Problem("", "", "", ""),) * len(f._layout.problems)
    text = f._kernel.text
    return (replace(f._layout, problems=problems), f._needed[2:], text.code(), text.workspace,
            {name: (a.dtype, a.tobytes()) for name, a in text.constants.items()})


def _anew(make, number, **options):
    """What would be compiled if nothing were kept."""
    with patch.object(scg_numba, "recall", lambda name: None), patch.object(scg_numba, "remember", lambda *kept: None):
        return scg.compile(make(number), **options)


def _graph(cost, probs=lambda c, t: scg.sigmoid(t), family=None):
    """A model with a number in its cost, or wherever it is put."""
    def make(c: float) -> scg.Graph:
        g = scg.Graph("g")
        t = g.param("t", init=0.3)
        b = g.sample("b", scg.Bernoulli(probs=probs(c, t)))
        z = g.sample("z", scg.Normal(t, 1.0) if family is None else family(c, t))
        g.cost("cost", cost(c, b, z, t))
        return g

    return make


def _loop(c: float) -> scg.Graph:
    g = scg.Graph("loop")
    t = g.param("t", init=0.3)
    last, _ = g.scan(lambda x, _: (x * c + g.sample("z", scg.Normal(t, 1.0)), None), c, length=3)
    g.cost("cost", (last - c) ** 2)
    return g


MODELS = {
    "distance": _graph(lambda c, b, z, t: (b - c) ** 2),
    "factor": _graph(lambda c, b, z, t: c * b * z),
    "factors": _graph(lambda c, b, z, t: c * b * (c - z) * (2.0 * c)),
    "exponent": _graph(lambda c, b, z, t: (b + 1.5) ** c),
    "choice": _graph(lambda c, b, z, t: scg.where(b > c, z, c * z)),
    "probability": _graph(lambda c, b, z, t: b * z, probs=lambda c, t: abs(c) / (1.0 + abs(c)) * scg.sigmoid(t)),
    "part of 1": _graph(lambda c, b, z, t: b * 0.7 * (1.0 - c) + 0.3 * c * z),
    "sum": _graph(lambda c, b, z, t: (c + 0.7) * b + z),
    "two": _graph(lambda c, b, z, t: b * c + z * 0.7 + scg.exp(0.2 * z)),
    "scale": _graph(lambda c, b, z, t: b * z, family=lambda c, t: scg.Normal(t, abs(c) + 0.1)),
    "spread": _graph(lambda c, b, z, t: b * z, family=lambda c, t: scg.Normal(t, abs(c) * scg.softplus(t))),
    "divisor": _graph(lambda c, b, z, t: b / (z**2 + c)),
    "logarithm": _graph(lambda c, b, z, t: scg.log(b + c * c) * z),
    "power of a number": _graph(lambda c, b, z, t: abs(c) ** z * b),
    "largest": _graph(lambda c, b, z, t: scg.maximum(b, c) * scg.clip(z, -abs(c), 0.7)),
    "array": _graph(lambda c, b, z, t: (np.array([0.7, c, 0.2]) * z).sum() * b),
    "array of it": _graph(lambda c, b, z, t: (np.array([0.7, 0.2]) * z * c).sum() * b),
    "loop": _loop,
}
NUMBERS = (0.45, 0.3, 0.7, -0.3, 1.0)  # 1 − 0.3 is 0.7, which is another number of these models


@pytest.mark.parametrize("name", MODELS)
def test_whatis_found_for_another_number_is_what_would_be_compiled(name):
    """Whatever is kept: of the numbers before."""
    for c in NUMBERS:
        try:
            expected = _needed(_anew(MODELS[name], c))
        except scg.SCGError:
            continue
        assert _needed(scg.compile(MODELS[name](c))) == expected, c


@pytest.mark.parametrize("name", ["distance", "factor", "factors", "sum", "two", "spread", "array of it"])
def test_other_numbers_are_found(name):
    """Where nothing but its place matters."""
    first, second = (scg.compile(MODELS[name](c + crc32(name.encode()) % 999 * 1e-5)) for c in (0.42, 0.53))
    assert not is_found(first) and is_found(second)
    assert first._kernel.text.code() == second._kernel.text.code() and _needed(first) != _needed(second)


def test_a_found_function_gives_the_numbers_of_its_own():
    for c in (0.44, 0.54):
        f = scg.compile(MODELS["distance"](c))
        p = 1.0 / (1.0 + np.exp(-0.3))
        assert is_found(f) is (c == 0.54)
        assert abs(f({"t": 0.3}, samples=4_000, rng=0).cost - (p * (1 - c) ** 2 + (1 - p) * c**2)) < 5e-3


def test_chains_are_found():
    """Numbers that are computed of others, in every world of a site; the double of one is a whole number."""
    def chain(c: float) -> scg.Graph:
        g = scg.Graph("chain")
        w = g.param("w", init=0.1)
        b = g.sample("b0", scg.Bernoulli(logits=w))
        for i in range(1, 3):
            b = g.sample(f"b{i}", scg.Bernoulli(logits=w * b))
            g.cost(f"c{i}", (b - c * i) ** 2)
        return g

    for c, known in ((0.1, False), (0.11, True), (0.5, False)):
        f = scg.compile(chain(c), strategy=scg.LocalExpectation())
        assert is_found(f) is known
        assert _needed(f) == _needed(_anew(chain, c, strategy=scg.LocalExpectation()))


def test_what_was_found_of_nodes_before_is_looked_at_again():
    """Analyses keep with a node what they find, and whoever compiles the graph later must see what that was made of."""
    make = MODELS["power of a number"]
    for c in (1.7, 0.6):  # above 1 and below
        g = make(c)
        str(g.surrogate())
        assert _needed(scg.compile(g)) == _needed(_anew(make, c))
