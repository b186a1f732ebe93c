"""The law of formulas: in every replicate they are worth what the interpreter computes, and the kernel's means."""

from __future__ import annotations

import formula_models  # noqa: F401 (registers graphs)
import numpy as np
import pytest
import sympy
from formula_graphs import CASES, SCORE, steps

import scg
from scg.backend import load
from scg.initial import brought
from scg.passes.outputs import contributions, program_of
from scg.run.calls import Calls
from scg.simplification import simplified

SAMPLES, SEED = 4, 5
PLAIN = ("bernoulli groups", "bernoulli probs", "finite mixture", "loop", "worlds", "names that collide",
         "aligned credit", "draws compared along an axis", "cases in conditions", "indices by data")  # else --full
COMPILED = ("loop", "rows")


def by_interpreter(surrogate, values) -> tuple[dict[str, np.ndarray], bool]:
    """Every replicate's contributions to the gradients, (rows, samples, *shape), and whether they are means of rows."""
    derivation = surrogate.derivation
    outputs = {o.name: o.node for o in contributions(derivation) if o.name}
    program = simplified(program_of(derivation, "float64", False, tuple(f"{n}|" for n in outputs),
                                    {f"{n}|": node for n, node in outputs.items()}))
    initial = {s.name: float(s.initial) for s in derivation.draft.states}
    given = brought(derivation.draft.params) | values
    calls = Calls(program.layout, load("numpy").compile(program), initial, False, False)
    found = calls.estimate(given, SAMPLES, SEED).record
    return {name: found[f"{name}|"] for name in outputs}, program.layout.shared


def _means(each: np.ndarray) -> np.ndarray:
    """The mean over rows, in each row's place."""
    return np.broadcast_to(each.mean(axis=0), each.shape)


def _cases():
    for name in CASES:
        for form in ("log", "ratio"):
            plain = name in PLAIN and (form == "log")
            yield pytest.param(name, form, id=f"{name}-{form}", marks=[] if plain else [pytest.mark.full])


@pytest.mark.parametrize("name, form", list(_cases()))
def test_formulas_at_numbers(name, form):
    case = CASES[name]()
    s = case.graph.surrogate(case.strategy, form=form)
    expected, of_rows = by_interpreter(s, case.values)
    e = s.evaluate(case.values, samples=SAMPLES, rng=SEED)
    for param, each in expected.items():
        shape = case.graph.params[param].shape
        own = e.gradient(param)
        np.testing.assert_allclose(_means(own) if of_rows else own, each, rtol=1e-8, atol=1e-8, err_msg=param)
        symbol = s.symbols.get(param)
        for expand in (False, True):
            for index in ([()] if not shape else [tuple(n - 1 for n in shape)]):
                by = symbol[index] if index else symbol
                found = e.of(sympy.diff(s.sympy(expand), by)) if by is not None else np.zeros(e.cost.shape)
                found = _means(found) if of_rows else found
                np.testing.assert_allclose(found, each[(..., *index)], rtol=1e-8, atol=1e-8, err_msg=param)


def test_there_are_many():
    assert len(CASES) >= 55 and set(PLAIN) <= set(CASES) and set(COMPILED) <= set(CASES)


@pytest.mark.full
@pytest.mark.parametrize("name", COMPILED)
def test_kernels_have_the_means(name):
    case = CASES[name]()
    f = scg.compile(case.graph, strategy=case.strategy, stderr=False)
    e, r = f.surrogate.evaluate(case.values, samples=SAMPLES, rng=SEED), f(case.values, samples=SAMPLES, rng=SEED)
    assert np.mean(e.cost) == pytest.approx(r.cost, rel=1e-8)
    for param, grad in r.grad.items():
        np.testing.assert_allclose(e.gradient(param).mean(axis=(0, 1)), grad, rtol=1e-8, atol=1e-8)


def test_an_index_by_data_is_written_as_it_is():
    """What is none is refused by a call, and the formula of what has a value does not ask again."""
    s = CASES["indices by data"]().graph.surrogate(SCORE)
    page, formulas = s.latex(), f"{s.sympy()} {s.gradient('w')} {s.definitions}"
    assert "w_{y_{n},k}^{2}" in page and "w[y, k]**2" in formulas and "w[label, 1]" in formulas
    for text in (page, formulas):
        assert not [word for word in ("floor", "nan", "NaN") if word in text], text


def test_text_grows_with_the_loop():
    """Unrolled, of each step once."""
    def written(length: int) -> int:
        s = steps(length).graph.surrogate(scg.ScoreFunction())
        return len(f"{s.sympy(True)} {s.where(s.sympy(True))} {s.gradient('t')} {s.where(s.gradient('t'))}")

    assert written(12) < 2.6 * written(6)
