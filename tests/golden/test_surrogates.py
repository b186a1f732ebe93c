"""What surrogates look like: as text, in sympy, in LaTeX."""

from __future__ import annotations

import pytest
from problems import PROBLEMS

import scg

GRAPHS = ["bernoulli_toy", "figure_1_graph_1", "figure_1_graph_2", "figure_1_graph_3", "figure_1_graph_4",
          "figure_1_graph_5", "two_layer_net", "categorical_table", "scan_3_steps", "scan_along_data"]


def views(surrogate) -> str:
    """Every view of a surrogate, under headings."""
    return "\n\n".join(f"{title}\n{text}" for title, text in {
        "text": str(surrogate), "incidence": str(surrogate.incidence), "sympy": str(surrogate.sympy()),
        "latex": surrogate.latex()}.items())  # fmt: skip


@pytest.mark.parametrize("form", ["log", "ratio"])
@pytest.mark.parametrize("problem", GRAPHS)
def test_score_function(problem, form, golden):
    golden(views(PROBLEMS[problem]().graph.surrogate(scg.ScoreFunction(), form=form)))


@pytest.mark.parametrize("problem", GRAPHS)
def test_policy(problem, golden):
    golden(views(PROBLEMS[problem]().graph.surrogate()))


ESTIMATORS = {"weak": scg.WeakDerivative(), "local": scg.LocalExpectation(), "enumerate": scg.Enumerate(),
              "muprop": scg.MuProp()}  # fmt: skip


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_of_the_toy(estimator, golden):
    golden(views(PROBLEMS["bernoulli_toy"]().graph.surrogate(ESTIMATORS[estimator])))


@pytest.mark.parametrize("problem", ["two_layer_net", "scan_3_steps"])
def test_estimators_in_latex(problem, golden):
    graph = PROBLEMS[problem]().graph
    golden("\n".join(f"{name}: {graph.surrogate(estimator).latex()}" for name, estimator in ESTIMATORS.items()))


@pytest.mark.parametrize("problem", ["bernoulli_toy", "figure_1_graph_5", "two_layer_net"])
def test_estimator_formulas(problem, golden):
    surrogate = PROBLEMS[problem]().graph.surrogate(scg.ScoreFunction())
    golden("\n".join(f"{name}: {surrogate.estimator(name)}" for name in surrogate.derivation.graph.params))
