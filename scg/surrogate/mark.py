"""What the parts of a term are called, as papers write them.

A site notes it of what estimators ask it for: scores, costs, replays, means. The notes are rewritten with the draft,
so that text and LaTeX find the very nodes of the finished surrogate. Nothing is computed of them.

In a name there stand for themselves

=============  =======================================================================================================
``@``           the site's name; in LaTeX ``@[]`` with an element's indices, ``@bar`` and ``@tilde`` with an accent
``<value>``     what stands for the draw
``<site>``      the site's name without the indices of an element, and ``<values>`` what stands for all its draws
``<given>``     the parents of the site
``<costs>``     the costs that its draws are weighed by; in meanings only
``<worlds>``    what stands for the draw in each of the worlds along which the part varies, one after another; names
                in LaTeX have the worlds' numbers below them instead
``<world>``     in what stands for the draw: the worlds in which it does
``<c>``         in words, a letter that stands in names of ours: another one where the user has a name like it
=============  =======================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import substitute


class Name(NamedTuple):
    """What a part of a term is called.

    Attributes
    ----------
    text, latex : str
    meaning : str
        In words, where its formula would say less.
    otherwise : str
        In words, where there is no formula.
    also : str
        In words, beside its formula.
    """

    text: str
    latex: str
    meaning: str = ""
    otherwise: str = ""
    also: str = ""


@dataclass(frozen=True)
class Mark:
    """A part of a site's term, and what it is called.

    Attributes
    ----------
    site : str
    name : Name
    node : Node
    value : Node or None
        What stands for the site's draws, in the worlds in which the node is.
    said : str
        What that value is called, in text and in LaTeX, if it is no number: ``"z⁺|z^{+}"``.
    brought : bool
        Whether it is a leaf that an estimator brings: what it is called says more than its name.
    whole : bool
        Whether it is a cost of the graph, and `site` its name.
    """

    site: str
    name: Name
    node: Node
    value: Node | None = None
    said: Name | None = None
    brought: bool = False
    whole: bool = False

    def of_cost(self, name: str, costs: Mapping[str, Node]) -> bool:
        """Whether it is the cost of that name which is called so, as a rule for the whole graph has rewritten it."""
        return self.whole and self.site == name and self.node is costs[name]


SCORE = Name("log p(@ | <given>)", r"\log p(@[] \mid <given>)")
RATIO = Name("p(@ | <given>) / ⊥(p(@ | <given>))",
             r"\frac{p(@[] \mid <given>)}{\bot\left(p(@[] \mid <given>)\right)}")
COSTS = Name("Q(@)", r"\hat{Q}_{@[]}")
AS_DRAWN = Name("Q(@ ← @)", r"Q_{@}(@[] \leftarrow @[])")
REPLAYED = Name("Q(@ ← <value>)", r"Q_{@}(@[] \leftarrow <value>)")
REPLAYED_AFRESH = REPLAYED._replace(otherwise="under noise of their own")
REPLAYS = (AS_DRAWN, REPLAYED, REPLAYED_AFRESH)
HELD_AS_DRAWN = Name("H(@)", r"H_{@[]}", "the costs and the terms of later sites, as they were drawn")
HELD = Name("H(@ ← <value>)", r"H_{@}(@[] \leftarrow <value>)",
            "the costs and the terms of later sites where @ is <value>, one draw at a time: other draws are held, "
            "and what is in ⊥ too")
VALUE = Name("<value>", "<value>")
FLIPPED = Name("flip(@)", r"\lnot @[]")  # the other value of a binary draw
CHANCE = Name("p(@ = <value> | <given>)", r"p(@[] = <value> \mid <given>)")
SCORE_OF_VALUE = Name("log p(@ = <value> | <given>)", r"\log p(@[] = <value> \mid <given>)")
CHANCE_OF_ALL = Name("p(@ | <given>)", r"p(@ \mid <given>)")
MEAN = Name("mean(@ | <given>)", r"\mu_{@[]}", otherwise="the mean of @ given its parents")
MEAN_FIELD_COSTS = Name("Q̄(@)", r"\bar{Q}_{@[]}",
                        "<costs> in the mean field, where every site is replaced by its mean")
ROLLED_OUT_COSTS = Name("Q̄(@)", r"\bar{Q}_{@[]}", "<costs> in the mean field, where every site is replaced by its "
                        "mean, except those that @ is drawn given")
MEAN_FIELD_VALUE = Name("@̄", r"@bar[]", "the mean of @ in the mean field")
DIRECTION = Name("Δ(@)", r"\Delta_{@[]}", "1 or -1 with equal chances, drawn anew for @ in each replicate")
LOG_ODDS = Name("log_odds(@ | <given>)", r"a_{@[]}", otherwise="the log-odds of @ given its parents")
MEAN_FIELD_SLOPE = Name("Q̄′(@)", r"\bar{Q}'_{@[]}", "the derivative in @ of <costs>, in the mean field")
SLOPE = Name("Q′(@ ← <value>)", r"Q'_{@[]}(<site> \leftarrow <values>)",
             "the derivative in @ of <costs>, where <site> is <value>")

BEND = Name("Q″(@ ← <value>)", r"Q''_{@[]}(<site> \leftarrow <values>)",
            "the second derivative in @ of <costs>, where <site> is <value>, in each element by itself")
SLOPE_AT_DRAW = Name("Q′(@)", r"Q'_{@[]}", "the derivative in @ of <costs>, later draws held")


def follows(name: Name) -> str:
    """What is said of the draws after one that is replaced in a replay of that name."""
    return f"and later draws follow from it, {name.otherwise or 'under the same noise'}"


def rewritten(marks: Iterable[Mark], mapping: Mapping[Node, Node]) -> list[Mark]:
    """The marks of nodes that are replaced in a term after they were made."""
    return [replace(m, node=substitute([m.node], mapping)[0],
                    value=None if m.value is None else substitute([m.value], mapping)[0]) for m in marks]
