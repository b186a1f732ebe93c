"""What is read of a graph: its listing, its surrogate as text and LaTeX, and the story of its compilation."""

from __future__ import annotations

import re

import pytest
from pictured import DRAWN, SMALL

import scg

LEAVE_ONE_OUT = scg.ScoreFunction(baseline=scg.LeaveOneOut())
PAGES = {
    **{(f"paper_{i}", "score"): scg.ScoreFunction() for i in range(1, 6)},
    ("belief_net", "policy"): None,
    ("belief_net", "muprop"): {"h1": scg.MuProp(), "h2": scg.LocalExpectation(), "h3": scg.DisARM()},
    ("loop", "weak"): scg.WeakDerivative(),
    ("loop", "policy"): None,
    ("mixture", "policy"): None,
    ("mixture", "muprop"): scg.MuProp(),
    ("shared_site", "policy"): None,
    ("shared_site", "score"): {"w": LEAVE_ONE_OUT, "b": scg.Enumerate()},
    ("toy", "relax"): scg.RELAX(),
    ("pair", "arms"): scg.ARMS(n=3),
    ("pair", "triple"): scg.StochasticTriple(),
    ("choice", "set"): scg.WithoutReplacement(2),
    ("layers", "critic"): scg.GradientCritic(),
    ("layers", "psa"): scg.PSA(),
}  # fmt: skip


@pytest.mark.parametrize("graph, label", PAGES, ids=map("-".join, PAGES))
def test_pages(graph, label, golden):
    g = {**DRAWN, **SMALL}[graph]()
    f = scg.compile(g, strategy=PAGES[graph, label], backend="numpy")
    s = f.surrogate
    golden("\n\n".join([str(g), str(s), s.latex(), _steady(f.explain())]))


def _steady(text: str) -> str:
    """Without what differs from run to run: seconds, and lines of files that others change."""
    text = re.sub(r"\d+\.\d\d s", "… s", text)
    return re.sub(r"  compiled     .*", "  compiled     …", re.sub(r"(\w+\.py):\d+", r"\1", text))
