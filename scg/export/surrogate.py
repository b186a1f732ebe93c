"""The surrogate as an object that can be read, printed and differentiated by hand.

It promises to be the very thing that is compiled: its costs and terms are the nodes whose gradient the kernel computes,
and every view of them (text, sympy, LaTeX) is made from these nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scg.analysis.reach import sum_of
from scg.errors import DeclarationError, SCGError
from scg.export.names import names_of
from scg.export.shown import credit
from scg.export.text import term_text, text_of
from scg.ir.location import here
from scg.ir.node import Node
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term

if TYPE_CHECKING:
    from scg.export.evaluated import Evaluated
    from scg.export.proofs.variance import Variance
    from scg.export.sympy.definitions import Definitions
    from scg.export.sympy.to_sympy import Converter


class Incidence(Mapping[str, tuple[str, ...]]):
    """Site → the costs that multiply its score (or what its estimator has in the score's place).

    Attributes
    ----------
    credit : dict of str to dict of str to str
        For each site of several draws or steps, how each of these costs is shared out among them: ``"by step"``,
        ``"by element"``, ``"whole"``, and what is in the way.
    """

    def __init__(self, costs: Mapping[str, tuple[str, ...]], how: Mapping[str, Mapping[str, str]]):
        self._costs = dict(costs)
        self.credit = {site: {name: how[site][name] for name in names if name in how[site]}
                       for site, names in costs.items()}

    def __getitem__(self, site: str) -> tuple[str, ...]:
        return self._costs[site]

    def __iter__(self):
        return iter(self._costs)

    def __len__(self) -> int:
        return len(self._costs)

    def __str__(self) -> str:
        return "\n".join(f"{site}: {', '.join(self._said(site, name) for name in costs) or 'no score'}"
                         for site, costs in self._costs.items())

    def _said(self, site: str, cost: str) -> str:
        how = self.credit[site].get(cost)
        return cost if how is None else f"{cost} ({how})"

    def __repr__(self) -> str:
        return repr(self._costs)


class SurrogateTerm:
    """A summand of the surrogate that has a gradient but no value: whatever weights it is stopped.

    Attributes
    ----------
    site : str
        The site whose estimator made it.
    node : Node
    """

    def __init__(self, surrogate: Surrogate, term: Term):
        self.site, self.node, self._surrogate, self._term = term.site, term.node, surrogate, term

    def sympy(self, expand: bool = False):
        """The term as a sympy expression; see `Surrogate.sympy`."""
        return self._surrogate._converter(expand).scalar(self.node)

    def __str__(self) -> str:
        return term_text(self._surrogate.derivation, self._term)

    def __repr__(self) -> str:
        return f"<term of {self.site}: {self}>"


class Surrogate:
    """The graph whose gradient is the estimator: the sum of the costs and of one term per scored site.

    It is the surrogate of one replicate (and one row of the data): the estimate is the mean of its gradient over
    replicates and rows. ⊥ marks what is not differentiated.

    Parameters
    ----------
    derivation : Derivation

    Attributes
    ----------
    form : str
        ``"log"`` or ``"ratio"``.
    costs : dict of str to Node
    terms : tuple of SurrogateTerm
        What the estimators added, in the order of their sites; ``str`` of one reads as a formula.
    objectives : dict of str to Node
        What auxiliary params minimise, by name; they are no part of the sum.

    Examples
    --------
    >>> s = g.surrogate(scg.ScoreFunction())
    >>> print(s.sympy())
    (b - 9/20)**2 + (b*theta - log(exp(theta) + 1))*stop_gradient((b - 9/20)**2)
    >>> print(s.latex())
    \\mathrm{loss}(b) + \\log p(b \\mid \\theta)\\,\\bot\\left(\\mathrm{loss}\\right)
    """

    def __init__(self, derivation: Derivation):
        self.derivation = derivation
        self.form = derivation.form
        self.costs: Mapping[str, Node] = dict(derivation.draft.costs)
        order = {site_node.name: i for i, site_node in enumerate(derivation.site_nodes)}
        self._terms = sorted(derivation.draft.terms, key=lambda t: order.get(t.site, -1))
        self.objectives: Mapping[str, Node] = {o.name: o.node for o in derivation.draft.objectives}
        self.terms = tuple(SurrogateTerm(self, t) for t in self._terms)

    @cached_property
    def incidence(self) -> Incidence:
        """Which costs multiply which site's score: a mapping from site to the names of costs.

        A site has none if nothing differentiated reaches its distribution, or if it is differentiated through or
        summed out instead of scored.
        """
        how = {name: verdict.credit for name, verdict in self.derivation.verdicts.items()}
        return Incidence(credit(self.derivation), how)

    # --- sympy ------------------------------------------------------------------------------------------------------
    def sympy(self, expand: bool = False):
        """The surrogate as an exact sympy expression; its `sympy.diff` is the estimator.

        Scalars are plain symbols, arrays are indexed under sums, samples are symbols named by their site; ⊥ is the
        function ``stop_gradient``, with derivative zero. `scg.export.sympy.to_sympy` lists all names.

        Parameters
        ----------
        expand : bool
            By default a named node prints as its name (and still differentiates as its definition), and a loop is one
            sum over its steps. Expanded, definitions are written out and loops are unrolled. `sympy.lambdify` makes
            code of it; only the means over other replicates, ``LOO``, and over all, ``Expectation``, one replicate
            does not know: ``modules=[{"LOO": …}, "scipy", "numpy"]`` says what they are.

        Returns
        -------
        sympy.Expr
        """
        return self._expression(expand)

    def gradient(self, name: str):
        """The derivative of the expanded surrogate with respect to a parameter: the estimator, with its ⊥ marks.

        Parameters
        ----------
        name : str
            A param of the graph, or what else ``wrt=`` named: of a node, the derivative with respect to something
            added to it.

        Returns
        -------
        sympy.Expr or sympy.Lambda
            For an array a function of the element's indices: ``gradient("W")(0, 1)``, or with its own free indices as
            ``gradient("W").expr``.

        See Also
        --------
        estimator : the same without the marks.
        """
        from scg.export.sympy.calculus import derivative, spell_out

        target = self._target(name)
        auxiliary = name in self.derivation.auxiliary
        about = "" if name in {**self.derivation.leaves.params, **self.derivation.graph.rows} else name
        expr = self._objective(target.ndim) if auxiliary else self._expression(True, target.ndim, about)
        converter = self._converter(True, target.ndim, about)
        head = converter.leaf(name, (0,) * target.ndim)
        found = derivative(expr, head.base if target.ndim else head, target.shape, converter.free)
        return spell_out(found) if about else found

    def estimator(self, name: str):
        """`gradient`, with every ⊥(x) as x: what one replicate contributes to the gradient, as a formula.

        Parameters
        ----------
        name : str

        Returns
        -------
        sympy.Expr or sympy.Lambda
        """
        from scg.export.sympy.calculus import unstop

        return unstop(self.gradient(name))

    def evaluate(self, values: Mapping[str, Any], *, samples: int = 1, rng=None,
                 state: Mapping[str, Any] | None = None) -> Evaluated:
        """The formulas at numbers, replicate by replicate and term by term, under the noise of a call.

        Parameters
        ----------
        values : dict of str to array_like
            As for a call of the compiled function; so are the others. The same seed gives the same draws, and what
            jumps is decided as by the call, in floats: 0.1 + 0.2 is above 0.3.
        samples : int
        rng : None, int, SeedSequence or Generator
        state : dict, optional

        Returns
        -------
        Evaluated
            ``.costs["loss"]``, ``.terms[0]`` and ``.gradient("theta")`` are arrays (rows, samples, *shape), whose means
            are what the call returns; ``.of(formula)`` is any other formula in the same symbols.
        """
        from scg.export.evaluated import evaluated

        return evaluated(self, values, samples, rng, state)

    @property
    def definitions(self) -> Definitions:
        """What names in ``s.sympy()`` stand for: ``print(s.definitions)`` writes a line for each.

        What a loop carries (``pos[t + 1]``, or ``carry_0[t + 1]`` by place), other draws of a site (``h'``), noise
        (``epsilon_z``), named nodes, and parts that occur more than once (``v0``).
        """
        from scg.export.sympy.definitions import definitions

        return definitions(self.derivation, self._converter(False), self._expression(False))

    def where(self, formula) -> Definitions:
        """The same of another formula, such as a gradient: the names of its shared parts, and of their derivatives."""
        from scg.export.sympy.definitions import Definitions, of_expression

        return Definitions(of_expression(getattr(formula, "expr", formula)))

    def _draws(self) -> dict[str, tuple[Node, Any]]:
        """The nodes behind the names of draws, noise and carries, and the loop around each."""
        for expand in (False, True):
            with suppress(SCGError):  # what is refused as a formula has no symbols
                self._expression(expand)
        return {name: behind for c in self._converters.values() for name, behind in c.draws.items()}

    def _decided(self) -> dict[Any, list]:
        """The elements behind what jumps in the formulas."""
        found: dict[Any, list] = {}
        for c in self._converters.values():
            for expr, elements in c.decided.items():
                known = found.setdefault(expr, [])
                keys = {e.key for e in known}
                known += [e for e in elements if e.key not in keys]
        return found

    def variance(self, name: str) -> Variance:
        """The exact variance of the gradient with respect to a param, on a small finite graph.

        Parameters
        ----------
        name : str
            A param of the graph.

        Returns
        -------
        Variance
            Of one replicate's contribution, or of the mean of a leave-one-out group: ``.formula``, ``.parts`` by term,
            and ``.evaluate(values)``.

        Raises
        ------
        ExactError
            If the graph is not finite, or too large for formulas.
        """
        from scg.export.proofs.variance import variance

        self._target(name)
        return variance(self.derivation, name)

    @property
    def symbols(self) -> dict[str, Any]:
        """The symbols of the expanded expression by name: a Symbol for a scalar, an IndexedBase for an array.

        Params, inputs and data stand under the names that you gave them, all else under the symbol's own.
        """
        self._expression(True)
        return self._converter(True).by_name

    def _target(self, name: str) -> Node:
        """What is differentiated by."""
        params, asked = self.derivation.leaves.params, self.derivation.targets
        if isinstance(name, str) and name in asked:
            return asked[name]
        if not isinstance(name, str) or name not in params:
            raise DeclarationError(str(here() or ""), f'The gradient with respect to "{name}" was asked for.',
                                   "The graph has no param of that name.",
                                   f"Its params are: {', '.join(params) or 'none'}.")
        raise DeclarationError(str(here() or ""), f'The gradient with respect to "{name}" was asked for.',
                               f"wrt={tuple(asked)} leaves it out: the terms that estimate it were not derived.",
                               "Use g.surrogate(strategy), or compile with its name in wrt.")

    @cached_property
    def _known(self) -> dict:
        return {}

    @cached_property
    def _converters(self) -> dict[tuple, Converter]:
        return {}

    def _converter(self, expand: bool, reserved: int = 0, about: str = "") -> Converter:
        """The converter of a form; `about` is a node that is differentiated by, and stands under its name."""
        from scg.export.sympy.surrogates import converter_of

        key = (expand, reserved, about)
        if key not in self._converters:
            self._converters[key] = converter_of(self.derivation, expand, reserved, about)
        return self._converters[key]

    def _expression(self, expand: bool, reserved: int = 0, about: str = ""):
        key = (expand, reserved, about)
        if key not in self._known:
            converter = self._converter(expand, reserved, about)
            self._known[key] = converter.sum_of([sum_of([r]) for r in self.derivation.roots()])
        return self._known[key]

    def _objective(self, reserved: int):
        """The sum of the objectives."""
        nodes = [o.node for o in self.derivation.draft.objectives]
        return self._converter(True, reserved).sum_of([sum_of([node]) for node in nodes])

    # --- text -------------------------------------------------------------------------------------------------------
    def latex(self, expand: bool = False) -> str:
        """The surrogate in LaTeX.

        Parameters
        ----------
        expand : bool
            By default it reads as in Schulman et al. 2015: costs as functions of what they are computed from, scores
            as log p(site | parents), each times ⊥ of the costs that it is weighed by. Other estimators read as in
            their papers, with Q(h ← v) for the costs of a replay and bars for the mean field. Expanded, it is
            ``sympy(expand=True)``, and what the names of its shared parts stand for.
        """
        from scg.export.latex import paper
        from scg.export.latex_forms import expanded
        from scg.export.sympy.definitions import of_expression

        if not expand:
            return paper(self.derivation, self._terms)
        expr, names = self.sympy(expand=True), names_of(self.derivation)
        lines = [rf"{expanded(head, names)} = {expanded(is_, names)}" for head, is_ in of_expression(expr).items()]
        return expanded(expr, names) + "".join(rf",\quad {line}" for line in lines)

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.latex()}$"

    def __str__(self) -> str:
        return text_of(self.derivation, self._terms)

    def __repr__(self) -> str:
        return f"<surrogate of {self.derivation.graph!r}: {len(self.terms)} terms, {self.form} form>"
