"""The compiler as a table of contents.

declare → check → influence → assign → verdict → surrogate (`derive`), then differentiate → outputs (`program_of`) →
simplify → schedule → lower (the backend).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np

from scg.automatic import AUTO, chosen
from scg.collecting import seldom_collecting
from scg.compiled import derived_of
from scg.derive import derive
from scg.errors import DeclarationError
from scg.function import EstimatorFunction, function_of, type_name
from scg.hessian import check_order
from scg.ir.location import here
from scg.ir.signed import signed
from scg.kept import keep, recalled, watching
from scg.strategy import Strategy
from scg.surrogate.derivation import Derivation


@signed
def compile(graph, *, strategy: Strategy | Literal["auto"] = None, wrt: Sequence[str] | None = None,
            costs: Sequence[str] | None = None, backend: str = "numba", dtype: str = "float64",
            stderr: bool = True, order: int = 1, values: Mapping[str, Any] | None = None) -> EstimatorFunction:
    """Derive, check and lower the gradient estimator of a graph's expected cost.

    Parameters
    ----------
    graph : Graph
    strategy : Estimator or dict or "auto", optional
        One estimator for all sites, or site name → estimator; a tuple of names stands for sites together, and an
        estimator of a whole graph for itself. It goes before the estimators of the
        declaration, and these before the policy: Pathwise where it is proved valid, else ScoreFunction with a
        leave-one-out baseline. With ``"auto"`` the unbiased ones are measured, site by site, and those with the least
        variance times time taken: ``f.measured`` and ``f.explain()`` say what was found. Those that may be the best
        are compiled for it, which takes about a second each for small graphs.
    wrt : sequence of str, optional
        Names of params to differentiate with respect to; all by default, none for ``()``. Those left out count as
        inputs: nothing is asked of what they alone move. Names of inputs, data and nodes too: then the gradient is that
        with respect to something added to the node, wherever it is used. For data, and nodes that have a value per row,
        it has the shape ``(rows, *shape)``, and is that of the mean over rows: 1/rows of each row's own. Nodes that
        vary by replicate are refused.
    costs : sequence of str, optional
        Names of the costs that the objective is the sum of; all by default. The others are not computed, and what only
        they depend on is not drawn. So each of several players has a function of its own, over one graph.
    backend : str
        ``"numba"`` (compiled) or ``"numpy"`` (interpreted, the reference: for small calls while a graph is written, for
        it compiles nothing).
    dtype : str
        ``"float64"`` or ``"float32"``.
    stderr : bool
        Whether standard errors are estimated too.
    order : int
        1 for gradients; 2 for the Hessian besides, as ``r.hessian["a"]["b"]``, where the parameters are few. Products
        with the Hessian of any size are ``f.hvp(values, direction)``.
    values : dict of str to array_like, optional
        Where ``"auto"`` measures; by default the params start as they were declared.

    Returns
    -------
    EstimatorFunction

    Raises
    ------
    SCGError
        If the graph cannot be compiled, or an estimator would be wrong at its site.
    """
    if not isinstance(stderr, (bool, np.bool_)):
        raise DeclarationError(str(here() or ""), f"stderr={stderr!r} was given.",
                               "It says whether standard errors are estimated.", "Give True or False.")
    options: dict[str, Any] = {"strategy": strategy, "wrt": wrt, "costs": costs, "backend": backend,
                               "dtype": type_name(dtype), "stderr": stderr, "order": check_order(order)}
    began, seconds = perf_counter(), {}
    if isinstance(strategy, str) and strategy == AUTO:
        best, measured = chosen(graph, values, options)
        options |= {"strategy": best, "measured": measured}
        seconds["choosing estimators"] = -began + (began := perf_counter())
    elif values is not None:
        raise DeclarationError(str(here() or ""), "values= was given.", 'It is where strategy="auto" measures.',
                               "Values are given to calls: f(values).")
    def derived(graph) -> Derivation:
        return derive(graph, options["strategy"], wrt=wrt, costs=costs)

    with seldom_collecting():
        found, made_of = recalled(graph, options, lambda kept: derived_of(derived(kept), options), seconds)
        if found is not None:
            return found
        with watching(made_of) as looks:
            derivation = derived(graph)
            f = function_of(derivation, options, seconds={**seconds, "the derivation": perf_counter() - began})
        keep(f, made_of, looks)
        return f
