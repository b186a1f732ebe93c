"""The names under which nodes are shown, each its own: one table for sympy, LaTeX and text.

====================  ==============================================================================================
of the user           leaves, sites, nodes and costs: as they were given; for a symbol, without what would read as
                      several words or as arithmetic: ``log sigma`` → ``log_sigma``
``h'``                another draw of the site h: with other parameters, from other noise, or replayed
``u_x``, ``u_x'``     the uniform behind a site, and that behind another draw of it
``epsilon_x``         its standard normal quantile
``pos``               what a loop carries from step to step by that key of a dict, or field of a named tuple
``carry_0``           the first value that it carries, where there are none; ``carry_pos`` if a name of yours is ``pos``
``over``              whether a loop with ``until=`` is over
``draw_x``            what a rejection sampler draws
``chosen_x``          what an algorithm of an estimator computes with a draw, see `control.as_number`
``L``, ``Q``, ``t``   and other letters of text and LaTeX, see `OWN`: another letter where the user has a name like it
====================  ==============================================================================================

A name that is taken has a mark more. So equal names are the same thing, whichever view shows them.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import substitute, topological
from scg.ops.arithmetic import NUMBER, stop_gradient_op
from scg.ops.leaves import is_derived, site_path
from scg.ops.randomness import draw_until_op, sample_op, uniform_op
from scg.ops.scan import keys_below, scan_op, split
from scg.ops.special import ndtri_op
from scg.passes.scans import handed_on
from scg.surrogate.derivation import Derivation

UNIFORM, NORMAL = "u", "epsilon"
_OURS = {"e"}  # what formulas in LaTeX use themselves
OWN: dict[str, tuple[str, ...]] = {  # what text and LaTeX write, and what they write if the user has a name like it
    "L": ("J", "S", "H"),  # the surrogate
    "E": ("Mean", "Expectation"),  # an expectation, in text
    "Q": ("C", "R"),  # costs that a site influences
    "p": ("Pr", "prob"),  # a probability
    "LOO": ("LeaveOneOut", "others"),
    "M": ("A", "Z"),  # a moving average
    "F": ("G", "K"), "g": ("path",), "W": ("weights",), "b": ("bias",),  # what is learned for a net
    "B": ("V", "I"), "D": ("Y", "Z"),  # what estimators call their parts may be any letter
    "N": ("K", "T"), "n": ("m", "d"),  # rows
    "t": ("s", "r", "l", "q", "h"), "s": ("r", "l", "q", "h"), r"\tau": ("r", "l", "q", "h"),  # steps
    "i": ("h",), "j": ("h", "d"), "k": ("m", "d"), "l": ("m", "d"),  # elements
    "v": ("w", "y", "x", "a"),  # what stands for a draw
    "u": ("U", "unif"), "ε": ("noise", "std"), r"\varepsilon": (r"\xi", r"\zeta"),
    "eta": ("weight", "coef"), r"\eta": (r"\kappa", r"\chi"), "temperature": ("heat",), r"\lambda": (r"\varsigma",),
    "c": ("factor", "coefficient"), "z": ("relaxed",), "mean": ("average",), r"\mu": ("m", r"\nu"),
    "log_odds": ("log_ratio",), "a": (r"\ell", r"\omega"), "Δ": ("sign",), r"\Delta": (r"\delta", r"\sigma"),
    "θ": ("params",), r"\theta": (r"\vartheta", r"\phi")}
_COMMANDS = {"log", "hat", "bar", "tilde", "frac", "bot", "left", "right", "mid", "leftarrow", "mathrm", "operatorname"}
_LATEX_WORD = r"\\text\{[^{}]*\}|\\mathrm\{(?:[^{}\\]|\\.)*\}|\\[A-Za-z]+|[A-Za-z]+"
_TEXT_WORD = r"<\w+>|[^\W\d_]+(?:_[^\W\d_]+)*"


class Loop(NamedTuple):
    """A scan that a node is in, and the loop around that one."""

    scan: Node
    parent: Any = None


class Names:
    """The names of one surrogate.

    Parameters
    ----------
    graph : Graph
        Its names go before all others.

    Examples
    --------
    >>> names = Names(g)
    >>> names.given("log sigma"), names.latex("log_sigma"), names.text("log_sigma")
    ('log_sigma', '\\\\mathrm{log\\\\ sigma}', 'log sigma')
    """

    def __init__(self, graph):
        self.graph = graph
        own = (*graph.params, *graph.inputs, *graph.rows, *graph.sites, *graph.nodes, *graph.costs)
        self.taken: set[str] = set()
        self._given: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._latex: dict[str, str] = {}
        self._latex_used = set(_OURS)
        self._of: dict[Any, str] = {}
        self.drawn: dict[str, tuple[Node, Any]] = {}  # what a name stands for, and the loop around it
        self._own: dict[str, str] = {}
        self._words: set[str] = set()
        self._noise: dict[str, tuple[str, str, bool]] = {}
        self.places: dict[str, str] = {}  # carries, by place, of all that have other names: `carry_0`
        self._kept: dict[Any, Any] = {}  # nodes made here: an equal node has the same id only while the first is held
        names = list(dict.fromkeys(own))
        self._names = names
        for name in [*(n for n in names if _cleaned(n, names) == n), *(n for n in names if _cleaned(n, names) != n)]:
            self._give(name, _cleaned(name, names))

    # --- the user's -------------------------------------------------------------------------------------------------
    @property
    def declared(self) -> list[str]:
        """All names, those of a kind in the order of their declaration."""
        return self._names

    def given(self, name: str) -> str:
        """What the user's name (or that of a param or state that an estimator brings) is shown as."""
        if name not in self._given:
            self._give(name, _cleaned(name, ()))
        return self._given[name]

    @property
    def shown(self) -> dict[str, str]:
        """The user's names by what they are shown as."""
        return {shown: name for name, shown in self._given.items()}

    def _give(self, name: str, wanted: str) -> None:
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        self._given[name] = wanted
        self._texts[wanted] = name

    # --- the compiler's ---------------------------------------------------------------------------------------------
    def claim(self, roots: Iterable[Node]) -> None:
        """Give the draws, noise and carries below the roots their names, in this order, also those in loops."""
        def walk(roots, loop):
            for n in topological(roots):
                if n.op is sample_op:
                    self.drawn.setdefault(self.sample(n, loop), (n, loop))
                elif n.op is uniform_op or (n.op is ndtri_op and n.args[0].op is uniform_op):
                    self.drawn.setdefault(self.noise(n), (n, loop))
                elif n.op is draw_until_op:
                    self.drawn.setdefault(self.draw(n), (n, loop))
                elif n.op is stop_gradient_op and n.attrs[:1] == NUMBER:
                    self.drawn.setdefault(self.number(n, loop), (n, loop))
                elif n.op is scan_op:
                    inside = Loop(n, loop)
                    for i, carry in enumerate(n.attrs.carries):
                        self.drawn.setdefault(self.carry(i, inside), (carry, inside))
                    walk(n.attrs.outputs, inside)

        walk(list(roots), None)

    def claim_carries(self, roots: Iterable[Node], loop=None) -> None:
        """Give what the loops below the roots carry its names: those that are declared go before all others."""
        for n in topological(roots):
            if n.op is scan_op:
                inside = Loop(n, loop)
                for i in range(len(n.attrs.carries)):
                    self.carry(i, inside)
                self.claim_carries(n.attrs.outputs, inside)

    def sample(self, node: Node, loop=None) -> str:
        """The name of a draw, which its sample node and the dynamics of the loops around it identify.

        The site's own name is that of the first that is asked for. `loop` has the `scan` and the `parent`.
        """
        meaning, dynamics = self.dynamics(loop)
        node = substitute([node], meaning)[0] if meaning else node
        self._kept[node.id] = node
        return self.distinct(self.given(node.attrs.site), ("site", node.id, dynamics), node.attrs.site, own=True)

    def noise(self, node: Node) -> str:
        """The name of a uniform, or of its normal quantile."""
        kind, u = (NORMAL, node.args[0]) if node.op is ndtri_op else (UNIFORM, node)
        path, step = u.args[0].attrs.path, u.args[0].args[0]
        if step.is_const and (stepped := f"{path}[{int(step.attrs.array)}]") in self.graph.sites:
            path = stepped
        # the site's own first word goes without a prime, later ones and the streams of replays with some
        prime = "'" if is_derived(path) or u.attrs.number else ""
        site = site_path(path)
        name = self.distinct(f"{kind}_{self.given(site)}{prime}", (kind, path, *u.attrs), f"{kind}_{site}{prime}")
        self._noise.setdefault(name, (kind, site, not step.is_const))
        return name

    def brought(self, leaf: Node) -> str:
        """The name of a leaf that a pass named: a state, or what is fed."""
        name = leaf.attrs.name
        return self.distinct(_cleaned(name, ()), (leaf.op, name), name)

    def draw(self, node: Node) -> str:
        """The name of what a rejection sampler draws."""
        self._kept[node.id] = node
        site = site_path(node.args[0].attrs.path)
        return self.distinct(f"draw_{self.given(site)}", ("draw", node.id), f"draw_{site}")

    def number(self, node: Node, loop=None) -> str:
        """The name of what an algorithm computes with a draw."""
        meaning, dynamics = self.dynamics(loop)
        node = substitute([node], meaning)[0] if meaning else node
        self._kept[node.id] = node
        _, what, site = node.attrs
        return self.distinct(f"{what}_{self.given(site)}", ("number", node.id, dynamics), f"{what}({site})")

    def carry(self, i: int, loop) -> str:
        """The name of what a loop carries at place i."""
        key = ("carry", i, self.dynamics(loop)[1])
        if key not in self._of:
            called, place = self.unlike(loop.scan.attrs.carry_name(i)), f"carry_{i}"
            while place in self.places or place in self.taken:
                place += "'"
            self.places[place] = self.distinct(_cleaned(called, ()), key, called)
        return self._of[key]

    def unlike(self, called: str) -> str:
        """What a carry is called: with a word before it, if the user has given the name to something else too."""
        return f"carry_{called}" if called in self._names or _cleaned(called, ()) in self.taken else called

    def distinct(self, wanted: str, key, text: str = "", own: bool = False) -> str:
        """A name for what `key` identifies: `wanted` for the first, with primes for the others; `text` in text.

        `own` says that the graph itself has given the name to what is named.
        """
        if key not in self._of:
            used, candidate = set(self._of.values()), wanted
            while candidate in used or (candidate in self.taken and not (own and candidate == wanted)):
                candidate += "'"
            self._of[key] = candidate
            self._texts.setdefault(candidate, (text or wanted) + candidate[len(wanted):])
        return self._of[key]

    def dynamics(self, loop) -> tuple[dict[Node, Node], tuple]:
        """Constants of a body as the outer nodes that they stand for, and what identifies the loop's dynamics.

        Scans have equal dynamics if they carry the same values from step to step, whatever else they put out.
        """
        if loop is None:
            return {}, ()
        key = ("meaning", *(s.scan.id for s in _around(loop)))
        if key not in self._kept:
            outer, around = self.dynamics(loop.parent)
            body = loop.scan.attrs
            inits, consts, arrays = split(loop.scan)
            inits, consts, arrays = (tuple(substitute(list(nodes), outer)) for nodes in (inits, consts, arrays))
            meaning = dict(zip(body.consts, consts))
            nodes = [*inits, *arrays, *substitute(handed_on(body), meaning)]
            dynamics = ((body.length, body.reverse, *(n.id for n in nodes)), *around)
            self._kept[key] = meaning, dynamics, nodes, loop.scan
        return self._kept[key][:2]

    # --- how they are shown -----------------------------------------------------------------------------------------
    def text(self, shown: str) -> str:
        """A name of this table in text: the user's own as they were given."""
        if shown in self._noise:
            kind, site, stepped = self._noise[shown]
            steps = f"[{self.own('t')}]" if stepped else ""
            return f"{self.own('ε' if kind == NORMAL else 'u')}{self._number(shown)}({site}{steps})"
        return self._texts.get(shown, shown)

    def _number(self, noise: str) -> str:
        """The number of a noise that is not a draw's own: of its primes, without those of its site."""
        kind, site, _ = self._noise[noise]
        primes = len(noise.removeprefix(f"{kind}_{self.given(site)}"))
        return str(primes) if primes else ""

    def own(self, wanted: str) -> str:
        """A letter or word of text and LaTeX that is none of the user's names: of `OWN`, the first that is free."""
        if wanted not in self._own:
            used = {*self.words, *self._own.values(), *OWN} - {wanted}
            series = (f"{wanted}_" + "_" * i for i in itertools.count()) if len(wanted) > 1 else (
                *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *(f"{wanted}{i}" for i in range(1, 1000)))
            free = (w for w in itertools.chain((wanted, *OWN.get(wanted, ())), series) if w not in self.words)
            self._own[wanted] = next(w for w in free if w == wanted or w not in used)
        return self._own[wanted]

    def step(self, depth: int) -> str:
        """The letter in text for a step of a loop inside of so many others."""
        return self.own("ts"[depth]) if depth < 2 else f"{self.own('t')}{depth}"

    def at(self, name: str, step: str | int, depth: int) -> str:
        """A name in a step of such a loop, and in a typical one of each around it."""
        return f"{name}[{', '.join([*map(self.step, range(depth)), str(step)])}]"

    def own_in_latex(self, wanted: str) -> str:
        """The same in LaTeX."""
        word = self.own(wanted)
        return word if len(word) == 1 or word.startswith("\\") else rf"\operatorname{{{word}}}"

    @cached_property
    def keys(self) -> list[str]:
        """The keys by which loops carry what they carry, as the user wrote them."""
        return list(dict.fromkeys(keys_below([*self.graph.costs.values(), *self.graph.nodes.values()])))

    @property
    def words(self) -> set[str]:
        """What the user's names are, and what they begin with, as words of text and of LaTeX."""
        if not self._words:
            names = [*self._names, *map(self.unlike, self.keys)]
            heads = {*names, *(found[0] for name in names if (found := re.match(r"[^\W\d_]+", name)))}
            greek = {_spelled(head) for head in heads}
            self._words = heads | {rf"\{head}" for head in heads | greek} | {
                r"\varepsilon" for head in greek if head == "epsilon"}
        return self._words

    def clear(self, wanted: str) -> str:
        """A name of several characters in text that is none of the user's."""
        while wanted in self._names:
            wanted += "_"
        return wanted

    def worded(self, template: str) -> str:
        """A template of what a part of a term is called in text, with words that are none of the user's names."""
        return re.sub(_TEXT_WORD, lambda word: self._worded(word[0], self.own), template)

    def worded_in_latex(self, template: str) -> str:
        """The same in LaTeX."""
        return re.sub(rf"<\w+>|@\w+|{_LATEX_WORD}", lambda word: self._worded(word[0], self.own_in_latex), template)

    def _worded(self, word: str, own: Callable[[str], str]) -> str:
        return own(word) if word in self.words and word.removeprefix("\\") not in _COMMANDS else word

    def latex(self, shown: str) -> str:
        """A name of this table in LaTeX: no two look alike."""
        if not self._latex:
            for own in self.shown:  # go before all others
                self._set(own)
        return self._set(shown)

    def _set(self, shown: str) -> str:
        from scg.export.latex_names import in_words, latex_name

        if shown not in self._latex:
            used, name = self._latex_used, self._texts.get(shown, shown)
            if shown in self._noise:
                kind, site, _ = self._noise[shown]
                letter = self.own_in_latex(r"\varepsilon" if kind == NORMAL else "u")
                below = ",".join(filter(None, (self._number(shown), self.latex(self.given(site)))))
                return self._latex.setdefault(shown, f"{letter}_{{{below}}}")
            primes = (latex_name(name) + "'" * n for n in itertools.count(1))
            forms = itertools.chain((latex_name(name), in_words(name), in_words(shown)), primes)
            self._latex[shown] = next(form for form in forms if form not in used)
            used.add(self._latex[shown])
        return self._latex[shown]


def names_of(derivation: Derivation) -> Names:
    """The names of a surrogate: its sites have their own, other draws of them primes."""
    found = derivation.__dict__.get("_names")
    if found is None:
        draft = derivation.draft
        found = Names(derivation.graph)
        found.claim_carries(derivation.graph.costs.values())
        found.claim([*draft.values.values(), *draft.costs.values(), *draft.roots()])
        object.__setattr__(derivation, "_names", found)
    return found


def _cleaned(name: str, others: Iterable[str]) -> str:
    """A name as a symbol's: no several words, and nothing that looks like arithmetic or another's element."""
    text = re.sub(r"[^\w'\[\].,]", "_", name)
    stem, bracket, _ = text.partition("[")
    return re.sub(r"[\[\],]+", "_", text).rstrip("_") if bracket and stem in others else text


def _spelled(letter: str) -> str:
    """A Greek letter in letters."""
    words = unicodedata.name(letter, "").lower().split() if len(letter) == 1 else []
    return words[-1] if words[:1] == ["greek"] else letter


def _around(loop):
    while loop is not None:
        yield loop
        loop = loop.parent
